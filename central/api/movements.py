"""/v1/movements: everything that was booked, in central order."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from starlette.responses import Response

from central.api.cursors import BadCursor, movement_cursor, parse_movement_cursor
from central.api.door import Reader, answered
from central.api.models import MovementsOut, Name
from central.api.paging import CursorText, Limit, bad_cursor
from central.api.problems import refuse, responses
from central.database import current_history
from central.ledger import views
from service.problems import Problem

router = APIRouter(prefix="/v1/movements", tags=["movements"])


@router.get("", response_model=MovementsOut, responses=responses("cursor-gone"))
async def list_movements(
    door: Reader,
    after: Annotated[CursorText | None, Query(description="`next` of the page before.")] = None,
    sku: Annotated[Name | None, Query(description="Only of this item.")] = None,
    document: Annotated[Name | None, Query(description="Only of this document.")] = None,
    limit: Limit = 100,
) -> Response:
    """Movements after a cursor, oldest first. `next` is always there: poll with it for what comes later."""
    history, number = read_cursor(after) if after is not None else (None, 0)
    return answered(await door.read(_page, history, number, limit, sku=sku, document=document))


def _page(
    connection: sa.Connection, /, history: str | None, after: int, limit: int, **filters: str | None
) -> dict[str, Any]:
    now = current_history(connection)
    if history is not None and history != now:
        raise gone(now)
    rows = views.movements(connection, after, limit, **filters)
    last = rows[-1]["movement"] if rows else after
    return {"movements": rows, "next": movement_cursor(now, last)}


def read_cursor(text: str) -> tuple[str, int]:
    """(history, movement number) of a cursor.

    Raises:
        Problem: `invalid`, when it is no cursor.
    """
    try:
        return parse_movement_cursor(text)
    except BadCursor as error:
        raise bad_cursor("query.after", str(error)) from error


def gone(history: str) -> Problem:
    """The cursor belongs to a history that ended: numbers after it may mean something else now."""
    return refuse(
        "cursor-gone",
        "Central was restored since this cursor was given. Read again from the cursor in `start`.",
        start=movement_cursor(history, 0),
        history=history,
    )
