"""The station pages and what stands behind them. Whatever a barcode contains reaches a page as JSON, never as markup.

GET  /                        the stations; the page itself when there is only one
GET  /stations/NAME           the page
GET  /stations/NAME/state     what it shows (see `agent.view`)
GET  /stations/NAME/events    the same, pushed at every change, and a `beat` that shows the connection lives
GET  /stations/NAME/documents what can be chosen
GET  /healthz                 200, or 503 with the reason while no scan can be recorded
POST /stations/NAME/undo      {"event_id"?}          the newest scan without it
POST /stations/NAME/document  {"document": id|null}  null finishes the job
POST /stations/NAME/looked    {"token": number}      what a gate listed was looked at, up to this outcome
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI
from fastapi import Path as PathParameter
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from agent import view
from agent.config import AgentConfig
from agent.disk import Disk
from agent.reference import ReferenceData
from agent.shared import Shown
from agent.station import Busy, Station
from agent.workflows import WORKFLOWS
from service import metrics, web

HERE: Final = Path(__file__).parent / "pages"
BEAT_S: Final = 2.0  # the page calls the connection lost after three of them
COALESCE_S: Final = 0.05  # changes that are no outcome are pushed together, at most so late
BODY_MAX_BYTES: Final = 4096  # a button's wish
DOCUMENTS_MOST: Final = 500  # on offer; others are chosen by their label
PAGES_MOST: Final = 20  # that follow one station at once


class UndoWish(BaseModel):
    """Which scan to take back."""

    model_config = ConfigDict(extra="forbid")
    event_id: str | None = Field(None, max_length=128)


class DocumentWish(BaseModel):
    """Which document to work on; null: none."""

    model_config = ConfigDict(extra="forbid")
    document: str | None = Field(max_length=200)


class LookedWish(BaseModel):
    """Somebody has looked at what a gate listed."""

    model_config = ConfigDict(extra="forbid")
    token: int = Field(ge=0, description="The newest outcome that the page showed then.")


class Pages:
    """Pushes the stations' states to whoever looks at them."""

    def __init__(
        self,
        stations: Mapping[str, Station],
        reference: ReferenceData,
        status: Callable[[str], dict[str, Any]],
        disk: Disk,
    ) -> None:
        self.stations, self.reference, self._status, self.disk = stations, reference, status, disk
        self.streams = {name: web.EventStream(clients_max=PAGES_MOST) for name in stations}
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def state(self, name: str) -> dict[str, Any]:
        """What the page of this station shows now."""
        return self.stations[name].state(self._status(name))

    def changed(self, name: str, *, at_once: bool) -> None:
        """Push the station's state: an outcome at once, everything else with what follows shortly."""
        if at_once:
            self._push(name)
        elif name not in self._waiting:
            loop = asyncio.get_running_loop()
            self._waiting[name] = loop.call_later(COALESCE_S, self._push, name)

    def _push(self, name: str) -> None:
        waiting = self._waiting.pop(name, None)
        if waiting is not None:
            waiting.cancel()
        if self.streams[name].clients:
            self.streams[name].publish(self.state(name))

    async def beat(self) -> None:
        """Show every page that its connection lives; for ever."""
        while True:
            await asyncio.sleep(BEAT_S)
            for stream in self.streams.values():
                stream.publish({}, "beat")


StationName = Annotated[str, PathParameter(max_length=64)]


def create(settings: AgentConfig, pages: Pages, registry: CollectorRegistry, version: str) -> FastAPI:
    """The agent's HTTP application."""
    app = web.create_app(
        f"Tallyman agent {settings.agent.id}",
        version=version,
        static=[HERE / "static"],
        hosts=settings.http.hosts,
        streams=pages.streams.values(),
        body_max_bytes=BODY_MAX_BYTES,
    )
    metrics.add_route(app, registry)
    _add_pages(app, settings, pages)
    _add_wishes(app, pages)
    return app


def _add_pages(app: FastAPI, settings: AgentConfig, pages: Pages) -> None:
    templates = web.Templates(HERE / "templates")

    @app.get("/", response_model=None)
    async def start() -> Response:
        if len(pages.stations) == 1:
            return RedirectResponse(f"/stations/{next(iter(pages.stations))}", status_code=302)
        return templates.page("stations.html", stations=settings.stations, agent=settings.agent)

    @app.get("/healthz")
    async def health(response: Response) -> dict[str, str]:
        told = pages.disk.told()
        if told["refuses"]:
            response.status_code = 503
            return {"status": "refusing", "agent": settings.agent.id, "reason": told["text"]}
        return {"status": "ok", "agent": settings.agent.id}

    @app.get("/stations/{name}", response_model=None)
    async def page(name: StationName) -> Response:
        station = _station(pages, name)
        return templates.page("station.html", station=station.settings, agent=settings.agent)

    @app.get("/stations/{name}/state")
    async def state(name: StationName) -> dict[str, Any]:
        _station(pages, name)
        return pages.state(name)

    @app.get("/stations/{name}/events", response_model=None)
    async def events(name: StationName) -> Response:
        _station(pages, name)
        return pages.streams[name].response(lambda: [(None, pages.state(name))])

    @app.get("/stations/{name}/documents")
    async def documents(name: StationName) -> dict[str, Any]:
        kind = WORKFLOWS[_station(pages, name).settings.workflow].documents
        return {"documents": view.documents(pages.reference.now, kind, DOCUMENTS_MOST)}


def _add_wishes(app: FastAPI, pages: Pages) -> None:
    guarded = [Depends(web.same_origin)]

    @app.post("/stations/{name}/undo", dependencies=guarded, response_model=None)
    async def undo(name: StationName, wish: UndoWish) -> dict[str, Any] | Response:
        return await _answer(_station(pages, name).undo(wish.event_id))

    @app.post("/stations/{name}/document", dependencies=guarded, response_model=None)
    async def document(name: StationName, wish: DocumentWish) -> dict[str, Any] | Response:
        return await _answer(_station(pages, name).choose(wish.document))

    @app.post("/stations/{name}/looked", dependencies=guarded, response_model=None)
    async def looked(name: StationName, wish: LookedWish) -> dict[str, Any] | Response:
        return await _answer(_station(pages, name).looked(wish.token))


def _station(pages: Pages, name: str) -> Station:
    if name not in pages.stations:
        raise web.Problem(
            404, "unknown-station", "This agent has no such station. Its stations are listed at /."
        )
    return pages.stations[name]


async def _answer(wish: Any) -> dict[str, Any]:
    """What the station said; a refusal is 409."""
    try:
        shown: Shown = await wish
    except Busy as busy:
        raise web.Problem(503, "unavailable", str(busy), headers={"Retry-After": "1"}) from None
    if shown.outcome != "ok":
        raise web.Problem(409, "refused", shown.text, token=shown.token)
    return {"outcome": shown.outcome, "text": shown.text, "event_id": shown.event_id, "token": shown.token}
