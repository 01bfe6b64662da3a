"""Errors as RFC 9457 problem documents, and the same error as a plain page for a browser.

The one idea: code raises `Problem(status, code, detail)`; what the caller sees is decided here alone, by what
it asked for.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

TYPE_PREFIX: Final = "urn:tallyman:problem:"
# More complaints about one request than anybody reads.
COMPLAINTS_MAX: Final = 20
_CODES: Final = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
    421: "unknown-host",
    429: "rate-limited",
    500: "internal",
    503: "unavailable",
}


class Problem(Exception):
    """An answer that is an error: `raise Problem(409, "insufficient-stock", "…", sku="SKU-1")`."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        self.status, self.code, self.detail, self.headers, self.extra = status, code, detail, headers, extra
        super().__init__(f"{status} {code}: {detail}")


def problem(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
) -> Response:
    """The response `application/problem+json`; `extra` become further members."""
    document = {
        "type": TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **extra,
    }
    return Response(
        json.dumps(document, ensure_ascii=False).encode(),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


def wants_page(request: Request) -> bool:
    """Whether a person in a browser asks: it names text/html and the path is not the API's."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")


def complaints(error: RequestValidationError) -> list[dict[str, str]]:
    """What is wrong with a request: where and what, bounded, without repeating the input."""
    return [
        {
            "where": ".".join(str(step) for step in item["loc"]),
            "what": item["msg"].removeprefix("Value error, "),
        }
        for item in error.errors()[:COMPLAINTS_MAX]
    ]


def add_handlers(app: FastAPI, page: Callable[[int, str], Response]) -> None:
    """Answers every error of the application; `page(status, detail)` renders one for people."""

    def answer(request: Request, error: Problem) -> Response:
        if wants_page(request):
            response = page(error.status, error.detail)
            response.headers.update(error.headers or {})
            return response
        return problem(error.status, error.code, error.detail, headers=error.headers, **error.extra)

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answer(request, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _CODES.get(error.status_code, "invalid" if error.status_code < 500 else "unavailable")
        detail = {
            404: f"There is nothing at {request.url.path}.",
            405: f"{request.url.path} does not take {request.method}.",
        }.get(error.status_code, error.detail)
        return answer(request, Problem(error.status_code, code, detail, headers=error.headers))

    async def on_invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        found = complaints(error)
        detail = "; ".join(f"{item['where']}: {item['what']}" for item in found)
        return answer(request, Problem(422, "invalid", detail, errors=found))

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_invalid)
