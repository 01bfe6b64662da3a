"""The page kit: one way to make an HTTP application, for the station pages and for the dashboard.

The one idea: a room brings routes, templates and static files; everything a browser must be told for safety,
every error's form and every text comes from here.
"""

import functools
import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import jinja2
from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from service.guard import BODY_MAX_BYTES, Guard, HostNames, same_origin
from service.problems import Problem, add_handlers, problem
from service.stream import EventStream
from service.texts import Texts, catalogue

__all__ = ["EventStream", "Problem", "Templates", "create_app", "form", "problem", "same_origin"]

HERE: Final = Path(__file__).parent
# A sign-in or a button: no form of ours has more fields or a longer text.
FORM_FIELDS_MAX: Final = 50
FORM_MAX_BYTES: Final = 64 * 1024


def create_app(
    title: str,
    *,
    version: str,
    static: Sequence[Path] = (),
    hosts: Iterable[str] = (),
    streams: Iterable[EventStream] = (),
    body_max_bytes: int = BODY_MAX_BYTES,
    openapi_url: str | None = None,
    description: str = "",
) -> FastAPI:
    """An application with the guard around it, `/static` served from the room's folders and ours.

    `hosts` are further names of this machine (HttpSection.hosts). `streams` are ended when the program ends.
    Interactive documentation pages are off: they would load scripts from elsewhere.
    """
    app = FastAPI(
        title=title,
        version=version,
        description=description,
        openapi_url=openapi_url,
        docs_url=None,
        redoc_url=None,
    )
    app.state.streams = list(streams)
    app.add_middleware(Guard, hosts=HostNames(hosts), body_max_bytes=body_max_bytes)
    app.mount("/static", _Static([*static, HERE / "static"]), name="static")
    add_handlers(app, functools.partial(_error_page, Templates()))
    return app


class _Static(StaticFiles):
    """Static files from several folders; the first that has the name wins."""

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__(directory=folders[0])
        self.all_directories: list[str | PathLike[str]] = list(folders)


class Templates:
    """Jinja2 templates of a room's folder and ours, escaped, strict about names, with `t` and `texts_json`."""

    def __init__(self, *folders: Path, texts: Texts | None = None) -> None:
        self.texts = texts or catalogue()
        self.environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader([*folders, HERE / "templates"]),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals.update(t=self.texts.t, texts_json=self._texts_json)

    def _texts_json(self, *sections: str) -> str:
        return json.dumps(self.texts.sections(*sections), ensure_ascii=False)

    def page(self, name: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
        """The rendered template as a response."""
        return HTMLResponse(self.environment.get_template(name).render(**values), status_code=status_code)


def _error_page(templates: Templates, status: int, detail: str) -> Response:
    heading = templates.texts.t("common.page_missing" if status == 404 else "common.page_failed")
    return templates.page("error.html", status_code=status, heading=heading, detail=detail)


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted HTML form (application/x-www-form-urlencoded); the last of a repeated name counts."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Problem(415, "unsupported-media-type", "Send the form as application/x-www-form-urlencoded.")
    body = await request.body()
    if len(body) > FORM_MAX_BYTES:
        raise Problem(413, "too-large", f"A form may have {FORM_MAX_BYTES} bytes.")
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise Problem(422, "invalid", "The form cannot be read. Reload the page and send it again.") from None
