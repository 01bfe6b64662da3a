"""The OpenAPI 3.1 document: what FastAPI finds out by itself, and what holds for every operation.

The one idea: authentication, rate limits and idempotency are no route's business, so they are written into the
document where they are enforced: for all of /v1 at once.
"""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from central.api.models import ProblemOut
from central.api.problems import PROBLEMS, responses

DESCRIPTION: Final = (
    "The record of truth for stock. Errors are problem documents (RFC 9457) whose `type` is "
    "`urn:tallyman:problem:<code>`. Writes take `Idempotency-Key`: the same key and body replays the answer, "
    "for 30 days; refusals are final under their key. Every token may ask so often as the `RateLimit` headers "
    "say. Quantities are integers in the item's base unit."
)
_ALWAYS: Final = ("unauthorized", "forbidden", "invalid", "rate-limited", "unavailable", "internal")
_WITH_BODY: Final = ("unreadable", "too-large", "unsupported-media-type")
_UNDER_KEY: Final = ("idempotency-mismatch", "in-progress")
_KEY_PARAMETER: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes the request safe to send again: 1 to 200 visible ASCII characters.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}


def install(app: FastAPI) -> None:
    """Serve the completed document at the application's `openapi_url`."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents


def build(app: FastAPI) -> dict[str, Any]:
    """The document."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = _problem_schema()
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "`tallyman central token` prints one. Of the roles read, operate and admin "
            "each includes those before it.",
        }
    }
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for method, operation in operations.items():
                _complete(operation, writes=method in ("put", "post"))
    return document


def _problem_schema() -> dict[str, Any]:
    schema = ProblemOut.model_json_schema()
    schema["properties"]["type"]["enum"] = [f"urn:tallyman:problem:{code}" for code in PROBLEMS]
    return schema


def _complete(operation: dict[str, Any], *, writes: bool) -> None:
    operation["security"] = [{"bearer": []}]
    codes = [*_ALWAYS, *(_WITH_BODY if "requestBody" in operation else ()), *(_UNDER_KEY if writes else ())]
    if writes:
        operation.setdefault("parameters", []).append(_KEY_PARAMETER)
    answers = operation["responses"]
    for status, response in responses(*codes).items():
        known = answers.get(str(status))
        if known is None or "application/problem+json" not in known.get("content", {}):
            answers[str(status)] = response
        else:
            known["description"] = f"{known['description']} {response['description']}"
