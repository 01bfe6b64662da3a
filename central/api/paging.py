"""Lists by pages: `limit` and `cursor` in, `next` out.

The one idea: a cursor is the key of the last row that was shown, so that a page costs the same wherever it is and
rows that come and go in between are neither skipped nor repeated.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import StringConstraints
from starlette.responses import Response

from central.api import cursors
from central.api.door import Reader, answered
from central.api.problems import refuse
from service.problems import Problem

LIMIT_MAX: Final = 1000

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
CursorText = Annotated[str, StringConstraints(min_length=1, max_length=cursors.CURSOR_MAX_CHARS)]
Cursor = Annotated[CursorText | None, Query(description="`next` of the page before.")]
Status = Annotated[Literal["open", "closed", "cancelled"] | None, Query(description="Only these.")]


async def page(
    door: Reader,
    name: str,
    query: Callable[..., list[tuple[str, dict[str, Any]]]],
    limit: int,
    cursor: str | None,
    *,
    numbered: bool = False,
    **filters: Any,
) -> Response:
    """One page of `query(connection, after, limit, **filters)`, which gives (key, body) in the order of keys.
    `numbered`: the keys are numbers.
    """
    after = ""
    if cursor is not None:
        try:
            kind, after = cursors.decode(cursor, 2)
            if kind != name:
                raise cursors.BadCursor("it belongs to another list")
            if numbered:
                cursors.parse_number(after)
        except cursors.BadCursor as error:
            raise bad_cursor("query.cursor", str(error)) from error
    rows = await door.read(query, after, limit + 1, **filters)
    more = len(rows) > limit
    following = cursors.encode(name, rows[limit - 1][0]) if more else None
    return answered({name: [body for _, body in rows[:limit]], "next": following})


def bad_cursor(where: str, why: str) -> Problem:
    """A cursor that central never gave."""
    what = f"is no cursor of this list: {why}. Use `next` of an answer as it is, or leave it out"
    return refuse("invalid", f"{where}: {what}.", errors=[{"where": where, "what": what}])
