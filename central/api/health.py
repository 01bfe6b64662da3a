"""/healthz: whether central can do its work now, for whoever restarts or routes around it."""

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from central.api.door import Back, answered
from service.problems import Problem

router = APIRouter(tags=["operation"])


@router.get("/healthz", response_class=Response)
async def health(request: Request) -> Response:
    """200 while the database answers, else 503. The broker is told, but does not decide: agents can wait."""
    back: Back = request.app.state.back
    broker = request.app.state.broker_online()
    try:
        await back.read(_ask)
    except Problem:
        return answered({"status": "failed", "database": "away", "broker": _word(broker)}, 503)
    return answered({"status": "ok", "database": "online", "broker": _word(broker)})


def _ask(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT 1"))


def _word(online: bool) -> str:
    return "online" if online else "away"
