"""Every problem the API can answer, and its HTTP status: this table is the only place that knows both.

The one idea: the rooms behind the API speak in problem codes, which are part of the contract
(`urn:tallyman:problem:<code>`); statuses and titles are chosen here.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from central.ledger.commands import Refused
from service.problems import Problem, complaints, problem

RETRY_AFTER_S: Final = 1
"""What a caller is told to wait when central is busy or its database is away."""


class Kind(NamedTuple):
    """How a problem code is shown."""

    status: int
    title: str
    meaning: str


PROBLEMS: Final[Mapping[str, Kind]] = {
    # Refusals by the state of the books: final under their idempotency key.
    "insufficient-stock": Kind(409, "Not enough stock", "Less is free than was asked for."),
    "already-exists": Kind(409, "Exists already", "Something else has this id."),
    "not-active": Kind(409, "No longer active", "It was committed, released, closed or cancelled before."),
    "expired": Kind(409, "Expired", "The reservation's time had run out."),
    "unknown-item": Kind(404, "Unknown item", "No item has this SKU."),
    "unknown-location": Kind(404, "Unknown location", "No location has this id."),
    "unknown-document": Kind(404, "Unknown document", "No document of this kind has this id."),
    "unknown-reservation": Kind(404, "Unknown reservation", "No reservation has this id."),
    # What is wrong with the request itself.
    "invalid": Kind(422, "Invalid request", "`errors` names each field and what is wrong with it."),
    "idempotency-mismatch": Kind(
        422, "Key used with another body", "The idempotency key was first used with another body."
    ),
    "in-progress": Kind(409, "In progress", "A request with this idempotency key is still running."),
    "unreadable": Kind(400, "Unreadable body", "The body is not JSON in UTF-8."),
    "too-large": Kind(413, "Too large", "The body has more bytes than a request may have."),
    "unsupported-media-type": Kind(415, "Not JSON", "Send the body as application/json."),
    "not-found": Kind(404, "Not found", "There is nothing at this path."),
    "method-not-allowed": Kind(405, "Method not allowed", "This path does not take this method."),
    "cursor-gone": Kind(410, "Cursor of another history", "Start again with the cursor in `start`."),
    # Who asks, and how often.
    "unauthorized": Kind(401, "Not signed in", "There is no valid bearer token."),
    "forbidden": Kind(403, "Not allowed", "The token's role does not allow this."),
    "rate-limited": Kind(429, "Too many requests", "Wait as long as `Retry-After` says."),
    "unknown-host": Kind(421, "Unknown host", "The request names a host that this program is not."),
    # Never stored under a key: the same request may succeed later.
    "unavailable": Kind(503, "Not available now", "Busy, or the database is away. Try again."),
    "internal": Kind(500, "A defect of ours", "`incident` stands in the log beside the reason."),
}


# What the validator finds, in words that a caller understands.
_SAID: Final = {
    "string_pattern_mismatch": "has characters that may not stand here (control characters never may)",
    "string_unicode": "is not valid Unicode",
    "extra_forbidden": "is no member of this request",
    "missing": "is missing",
}


def refuse(code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any) -> Problem:
    """The problem to raise for a code of the table."""
    kind = PROBLEMS[code]
    return Problem(kind.status, code, detail, headers=headers, title=kind.title, **extra)


def refused(answer: Refused) -> Problem:
    """A refusal of the ledger as a problem."""
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
    return refuse(answer.problem, answer.detail, headers=headers, **(answer.extra or {}))


def unavailable(detail: str) -> Problem:
    """Central is there but cannot answer now."""
    return refuse("unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def as_response(error: Problem) -> Response:
    """The problem as a response, for code that runs before any route."""
    return problem(error.status, error.code, error.detail, headers=error.headers, **error.extra)


def responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route, for its documentation."""
    by_status: dict[int | str, list[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        status: {
            "description": " ".join(f"`{code}`: {PROBLEMS[code].meaning}" for code in found),
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, found in by_status.items()
    }


def add_handlers(app: FastAPI) -> None:
    """What the framework finds wrong with a request, in the words of the table."""

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return as_response(_what_is_wrong(request, error))

    app.add_exception_handler(RequestValidationError, on_invalid)


def _what_is_wrong(request: Request, error: RequestValidationError) -> Problem:
    for item in error.errors():
        if item["type"] == "json_invalid":
            reason = item.get("ctx", {}).get("error", "")
            return refuse("unreadable", f"The body is not JSON: {reason} at character {item['loc'][-1]}.")
    if isinstance(error.body, bytes) and error.body:
        kind = request.headers.get("content-type", "none")
        return refuse(
            "unsupported-media-type", f"The body must be application/json; Content-Type is {kind!r}."
        )
    found = [
        {**shown, "what": _SAID.get(item["type"], shown["what"])}
        for item, shown in zip(error.errors(), complaints(error), strict=False)
    ]
    detail = "; ".join(f"{item['where']}: {item['what']}" for item in found)
    return refuse("invalid", detail, errors=found)
