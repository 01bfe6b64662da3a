"""The HTTP application of central: routes, the gate before them, the dashboard beside them.

The one idea: everything it needs comes in as arguments, so that tests run the very application that is served.
"""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from central.api import (
    adjustments,
    availability,
    discrepancies,
    events,
    health,
    items,
    locations,
    movements,
    openapi,
    orders,
    problems,
    purchase_orders,
    reservations,
    tokens,
)
from central.api.door import Back, Writer
from central.api.gate import Gate
from central.api.rates import Rates
from central.pages import dashboard
from central.pages.board import Board
from service import metrics, web

ROUTERS = (
    items.router,
    locations.router,
    purchase_orders.router,
    orders.router,
    reservations.router,
    adjustments.router,
    availability.router,
    movements.router,
    discrepancies.router,
    events.router,
    health.router,
)


@dataclass(frozen=True)
class Parts:
    """What the application is made of."""

    engine: sa.Engine
    ledger: Writer
    registry: CollectorRegistry
    version: str
    broker_online: Callable[[], bool]
    hosts: tuple[str, ...] = ()
    requests_per_s: int = 2000


def create(parts: Parts) -> FastAPI:
    """The application. `app.state.commits.wake()` and `app.state.board.wake()` after every commit."""
    board = Board()
    app = web.create_app(
        "Tallyman central",
        version=parts.version,
        description=openapi.DESCRIPTION,
        static=[dashboard.STATIC],
        hosts=parts.hosts,
        streams=[board.stream],
        openapi_url="/openapi.json",
    )
    back = Back(parts.engine, parts.ledger)
    app.state.back = back
    app.state.broker_online = parts.broker_online
    app.state.commits = events.Commits()
    app.state.streams.append(app.state.commits)
    problems.add_handlers(app)
    metrics.add_route(app, parts.registry)
    for router in ROUTERS:
        app.include_router(router)
    dashboard.install(app, board)
    openapi.install(app)

    async def find(token_hash: str) -> tokens.Caller | None:
        return await back.read(tokens.find, token_hash)

    # The last is the innermost: the guard of the page kit stays around the gate.
    app.user_middleware.append(Middleware(Gate, find=find, rates=Rates(parts.requests_per_s)))
    return app
