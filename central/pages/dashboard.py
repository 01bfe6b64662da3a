"""The dashboard's routes: sign-in with an access token, the page, and the one stream that keeps it live."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.responses import RedirectResponse, Response

from central.api import tokens
from central.api.door import Back
from central.api.problems import refuse
from central.api.rates import Rates
from central.pages import sessions
from central.pages.board import Board
from central.pages.sessions import COOKIE, LIFETIME_S, Session
from service import web

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
LOOK_AGAIN_S: Final = 20.0
"""A stream ends so long after its session did, at most (and one keep-alive)."""
SIGN_INS_PER_S: Final = 10
"""Of all people together: enough for a shift that begins, useless for guessing."""

router = APIRouter(include_in_schema=False)


async def _session(request: Request) -> Session | None:
    secret = request.cookies.get(COOKIE)
    if not secret or len(secret) > tokens.TOKEN_MAX_CHARS:
        return None
    back: Back = request.app.state.back
    return await back.read(sessions.find, secret)


SignedIn = Annotated[Session | None, Depends(_session)]


def install(app: FastAPI, board: Board) -> None:
    """The dashboard in an application that has `state.back`."""
    app.state.board = board
    app.state.templates = web.Templates(HERE / "templates")
    app.state.sign_ins = Rates(SIGN_INS_PER_S)
    app.include_router(router)


def _templates(request: Request) -> web.Templates:
    templates: web.Templates = request.app.state.templates
    return templates


@router.get("/")
async def page(request: Request, session: SignedIn) -> Response:
    """The dashboard, or the way to sign in."""
    if session is None:
        return RedirectResponse("/sign-in", 303)
    caller = session.caller
    return _templates(request).page("dashboard.html", who=caller.name, role=caller.role)


@router.get("/sign-in")
async def sign_in_page(request: Request, session: SignedIn) -> Response:
    """Asks for an access token."""
    if session is not None:
        return RedirectResponse("/", 303)
    return _templates(request).page("sign-in.html", error=None)


@router.post("/sign-in", dependencies=[Depends(web.same_origin)])
async def sign_in(request: Request) -> Response:
    """A session for whoever has a token."""
    templates = _templates(request)
    allowance = request.app.state.sign_ins.take("all", time.monotonic())
    if not allowance.allowed:
        headers = {"Retry-After": "1"}
        raise refuse("rate-limited", templates.texts.t("dashboard.sign_in_wait"), headers=headers)
    token = (await web.form(request)).get("token", "").strip()
    back: Back = request.app.state.back
    caller = None
    if 0 < len(token) <= tokens.TOKEN_MAX_CHARS:
        caller = await back.read(tokens.find, tokens.hashed(token))
    if caller is None:
        error = templates.texts.t("dashboard.sign_in_failed" if token else "dashboard.sign_in_empty")
        response: Response = templates.page("sign-in.html", status_code=401, error=error)
        response.headers["WWW-Authenticate"] = 'Bearer realm="tallyman"'
        return response
    secret = await back.write(sessions.begin, caller)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        COOKIE, secret, max_age=LIFETIME_S, httponly=True, samesite="strict", secure=_over_https(request)
    )
    return response


def _over_https(request: Request) -> bool:
    """Whether the browser came by https, also when a proxy takes that off: a POST names the page's origin."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


@router.post("/sign-out", dependencies=[Depends(web.same_origin)])
async def sign_out(request: Request) -> Response:
    """Ends the session, here and in every tab."""
    secret = request.cookies.get(COOKIE)
    if secret:
        back: Back = request.app.state.back
        await back.write(sessions.end, secret)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_over_https(request))
    return response


@router.get("/dashboard/events")
async def events(request: Request, session: SignedIn) -> Response:
    """Everything the page shows, then what changes."""
    if session is None:
        raise refuse(
            "unauthorized", "Sign in first.", headers={"WWW-Authenticate": 'Bearer realm="tallyman"'}
        )
    board: Board = request.app.state.board
    response = board.stream.response(board.first)
    items = response.body_iterator
    assert isinstance(items, AsyncGenerator), "an event stream is a generator"

    async def signed_in() -> bool:
        return await _session(request) is not None

    response.body_iterator = _while(signed_in, items)
    return response


async def _while(
    signed_in: Callable[[], Awaitable[bool]], items: AsyncGenerator[Any, None]
) -> AsyncIterator[Any]:
    """The items, as long as the session lasts. (The database being away ends the stream too: it is asked again.)"""
    looked_s = time.monotonic()
    async with contextlib.aclosing(items):
        async for item in items:
            now_s = time.monotonic()
            if now_s - looked_s >= LOOK_AGAIN_S:
                if not await signed_in():
                    return
                looked_s = now_s
            yield item
