"""The page kit: what every response carries, how errors look, and what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx2 as httpx
import pytest
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel
from structlog.testing import capture_logs

from service import metrics, web
from service.guard import HostNames
from service.stream import KEEP_ALIVE_S, EventStream
from service.texts import Texts


class Line(BaseModel):
    sku: str
    quantity: int


def build(**options: Any) -> FastAPI:
    app = web.create_app("test", version="1", **options)

    @app.get("/fine")
    async def fine() -> dict[str, str]:
        return {"said": "<b>"}

    @app.get("/stock", dependencies=[])
    async def stock() -> None:
        raise web.Problem(
            409, "insufficient-stock", "Only 1 is free.", sku="SKU-1", headers={"Retry-After": "1"}
        )

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the secret is hunter2")

    @app.post("/lines")
    async def lines(line: Line) -> Line:
        return line

    @app.post("/undo", dependencies=[Depends(web.same_origin)])
    async def undo() -> str:
        return "undone"

    @app.post("/sign-in")
    async def sign_in(request: Request) -> dict[str, str]:
        return await web.form(request)

    return app


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def app() -> FastAPI:
    return build()


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8480") as client:
        yield client


PAGE = {"Accept": "text/html,*/*;q=0.8"}


@pytest.mark.parametrize(
    "path", ["/fine", "/nowhere", "/broken", "/stock", "/static/tallyman.css", "/static/nope"]
)
async def test_every_response_carries_the_security_headers(http: httpx.AsyncClient, path: str) -> None:
    headers = (await http.get(path)).headers
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(
        policy
    )
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_pages_are_never_kept_and_static_files_are_asked_for_again(http: httpx.AsyncClient) -> None:
    assert (await http.get("/fine")).headers["cache-control"] == "no-store"
    style = await http.get("/static/tallyman.css")
    assert style.headers["cache-control"] == "no-cache"
    again = await http.get("/static/tallyman.css", headers={"If-None-Match": style.headers["etag"]})
    assert again.status_code == 304


async def test_a_room_brings_its_own_static_files(tmp_path: Any) -> None:
    (tmp_path / "room.css").write_text("p{}")
    transport = httpx.ASGITransport(app=build(static=[tmp_path]))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/static/room.css")).text == "p{}"
        assert (await client.get("/static/tallyman.css")).status_code == 200
        assert (await client.get("/static/../web.py")).status_code == 404


def problem_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == response.status_code
    return found


async def test_a_problem(http: httpx.AsyncClient) -> None:
    response = await http.get("/stock")
    assert problem_of(response) == {
        "type": "urn:tallyman:problem:insufficient-stock",
        "title": "Conflict",
        "status": 409,
        "detail": "Only 1 is free.",
        "sku": "SKU-1",
    }
    assert response.headers["retry-after"] == "1"


async def test_nothing_there_and_wrong_method(http: httpx.AsyncClient) -> None:
    missing = problem_of(await http.get("/v1/nothing", headers=PAGE))
    assert (missing["type"], missing["status"]) == ("urn:tallyman:problem:not-found", 404)
    wrong = await http.delete("/fine")
    assert problem_of(wrong)["type"] == "urn:tallyman:problem:method-not-allowed"
    assert wrong.headers["allow"] == "GET"


async def test_invalid_input_says_where_and_does_not_repeat_it(http: httpx.AsyncClient) -> None:
    found = problem_of(await http.post("/lines", json={"sku": "hunter2", "quantity": "many"}))
    assert found["type"] == "urn:tallyman:problem:invalid"
    assert [error["where"] for error in found["errors"]] == ["body.quantity"]
    assert "hunter2" not in json.dumps(found)
    assert problem_of(await http.post("/lines", content=b"{"))["status"] == 422
    many = await http.post("/lines", json=[{}] * 1000)
    assert len(problem_of(many)["errors"]) <= 20


async def test_a_defect_tells_nothing_but_where_to_look(
    http: httpx.AsyncClient, logged: list[MutableMapping[str, Any]]
) -> None:
    response = await http.get("/broken")
    found = problem_of(response)
    assert found["status"] == 500
    assert found["incident"] in found["detail"]
    [entry] = logged
    assert (entry["incident"], entry["path"], entry["exc_info"]) == (found["incident"], "/broken", True)
    assert "hunter2" not in response.text


async def test_people_get_a_page(http: httpx.AsyncClient) -> None:
    response = await http.get("/<script>alert(1)</script>", headers=PAGE)
    assert response.status_code == 404
    assert response.headers["content-type"].startswith("text/html")
    assert "There is no such page." in response.text
    assert "<script>alert" not in response.text
    conflict = await http.get("/stock", headers=PAGE)
    assert "Only 1 is free." in conflict.text
    assert conflict.headers["retry-after"] == "1"


async def test_a_body_that_is_too_large(app: FastAPI, http: httpx.AsyncClient) -> None:
    announced = await http.post("/lines", content=b"x" * (1024 * 1024 + 1))
    assert problem_of(announced)["type"] == "urn:tallyman:problem:too-large"

    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 64 * 1024
            yield b" " * 64 * 1024

    streamed = await http.post("/lines", content=endless(), headers={"Content-Type": "application/json"})
    assert problem_of(streamed)["type"] == "urn:tallyman:problem:too-large"
    assert sent < 2 * 1024 * 1024
    assert "1048576 bytes" in streamed.json()["detail"]


@pytest.mark.parametrize("length", ["-1", "1e3", "\u0663", ""])
async def test_a_content_length_that_is_no_number(app: FastAPI, length: str) -> None:
    """By raw ASGI: no client library sends one."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-length", length.encode("latin-1", "replace"))]
    scope = {"type": "http", "method": "POST", "path": "/lines", "headers": headers, "query_string": b""}
    await app({**scope, "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"}, receive, send)
    assert sent[0]["status"] == 400


@pytest.mark.parametrize(
    "host", ["localhost:8480", "LOCALHOST", "127.0.0.1", "[::1]:80", "192.168.0.4:1", "shop.example."]
)
def test_hosts_that_are_allowed(host: str) -> None:
    assert HostNames(["Shop.example"]).allows(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a:b:c"]
)
def test_hosts_that_are_not(host: str) -> None:
    assert not HostNames().allows(host)


async def test_a_rebound_name_is_refused_and_the_way_out_named(http: httpx.AsyncClient) -> None:
    found = problem_of(await http.get("/fine", headers={"Host": "evil.example:8480"}))
    assert found["status"] == 421
    assert "add 'evil.example' to hosts under [http]" in found["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:8480"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:8480"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_other_sites_pages_cannot_write(
    http: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await http.post("/undo", headers=headers)).status_code == status


async def test_forms(http: httpx.AsyncClient) -> None:
    sent = {"token": "a b&c=é", "empty": ""}
    assert (await http.post("/sign-in", data=sent)).json() == sent
    assert problem_of(await http.post("/sign-in", json=sent))["status"] == 415
    many = "&".join(f"k{number}=1" for number in range(60))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert problem_of(await http.post("/sign-in", content=many, headers=form))["status"] == 422
    assert (
        problem_of(await http.post("/sign-in", content=b"a=" + b"x" * 70_000, headers=form))["status"] == 413
    )
    assert problem_of(await http.post("/sign-in", content=b"\xff=1", headers=form))["status"] == 422


async def test_metrics() -> None:
    app = web.create_app("test", version="1")
    metrics.add_route(app, metrics.create_registry("agent", "1.2"))
    metrics.create_registry("agent", "1.2")  # a second one in the same process does not collide
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://localhost"
    ) as client:
        response = await client.get("/metrics")
    assert 'tallyman_build_info{program="agent",version="1.2"} 1.0' in response.text
    assert response.headers["content-type"].startswith("text/plain")


def test_templates_escape_what_barcodes_contain(tmp_path: Any) -> None:
    (tmp_path / "page.html").write_text(
        '{% extends "base.html" %}{% block main %}{{ t("a.scanned", code=code) }}{% endblock %}'
        '{% block texts %}{{ texts_json("a") }}{% endblock %}'
    )
    texts = Texts({"a": {"scanned": "scanned {code}"}, "common": {"product": "T", "skip_to_content": "S"}})
    page = web.Templates(tmp_path, texts=texts).page("page.html", code="<img src=x onerror=alert(1)>{other}")
    body = bytes(page.body).decode()
    assert "scanned &lt;img src=x onerror=alert(1)&gt;{other}" in body
    assert "&#34;a.scanned&#34;: &#34;scanned {code}&#34;" in body


# ------------------------------------------------------------------------------------------------ event streams


async def take(response: Any, count: int) -> list[bytes]:
    events = aiter(response.body_iterator)
    found = [await anext(events) for _ in range(count + 1)]
    assert found.pop(0) == b"retry: 1000\n\n"
    return found


async def test_a_client_gets_the_present_and_then_what_happens() -> None:
    stream = EventStream()
    response = stream.response(lambda: [(None, {"count": 1}), ("tasks", [])])
    events = aiter(response.body_iterator)
    assert await anext(events) == b"retry: 1000\n\n"
    stream.publish({"count": 2}, "state")
    assert await anext(events) == b'data: {"count":1}\n\n'
    assert await anext(events) == b"event: tasks\ndata: []\n\n"
    assert await anext(events) == b'event: state\ndata: {"count":2}\n\n'
    assert stream.clients == 1
    await events.aclose()  # type: ignore[attr-defined]
    assert stream.clients == 0


async def test_the_present_is_asked_for_once_the_client_listens() -> None:
    stream = EventStream()
    response = stream.response(lambda: [(None, stream.clients)])
    assert await take(response, 1) == [b"data: 1\n\n"]


async def test_a_slow_client_is_dropped_and_the_others_go_on() -> None:
    stream = EventStream(queue_max=4)
    slow, quick = (aiter(stream.response().body_iterator) for _ in range(2))
    await anext(slow)
    await anext(quick)
    for number in range(20):
        stream.publish(number)
        assert await anext(quick) == f"data: {number}\n\n".encode()
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    assert (stream.clients, stream.dropped) == (1, 1)


async def test_too_many_clients_are_told() -> None:
    stream = EventStream(clients_max=1)
    await anext(aiter(stream.response().body_iterator))
    with pytest.raises(web.Problem) as error:
        stream.response()
    assert error.value.status == 503


async def test_the_end_ends_every_stream() -> None:
    stream = EventStream()
    events, late = (aiter(stream.response().body_iterator) for _ in range(2))
    await anext(events)
    stream.publish("unread")
    stream.close()
    for ended in (events, late):
        with pytest.raises(StopAsyncIteration):
            await anext(ended)
    with pytest.raises(web.Problem):
        stream.response()


async def test_an_idle_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEEP_ALIVE_S <= 15
    monkeypatch.setattr("service.stream.KEEP_ALIVE_S", 0.01)
    events = aiter(EventStream().response().body_iterator)
    await anext(events)
    async with asyncio.timeout(2):
        assert await anext(events) == b": ping\n\n"
