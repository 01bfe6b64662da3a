"""Every problem that the API can answer, provoked: the whole table, on both engines."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from central import tables
from central.api import cursors
from central.api.problems import PROBLEMS
from central.database import new_history, writing
from central.ledger.commands import Command
from central.ledger.service import LedgerBusy
from sync.events import MAX_QUANTITY
from tests.support.central import Central, central

Provoke = Callable[[Central], Awaitable[httpx2.Response]]

JSON = {"Content-Type": "application/json"}
HOLD = {"sku": "A", "quantity": 1, "channel": "web", "ttl_s": 600}


class Slow:
    """The ledger, once it may go on."""

    def __init__(self, ledger: Any) -> None:
        self.ledger, self.asked, self.go = ledger, asyncio.Event(), asyncio.Event()

    async def submit(self, command: Command, *, timeout_s: float) -> Any:
        self.asked.set()
        await self.go.wait()
        return await self.ledger.submit(command, timeout_s=timeout_s)


class Failing:
    """A ledger that raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def submit(self, command: Command, *, timeout_s: float) -> Any:
        raise self.error


async def insufficient(c: Central) -> httpx2.Response:
    return await c.post("/v1/reservations", {**HOLD, "quantity": 10_000})


async def already_exists(c: Central) -> httpx2.Response:
    order = {"id": "TWICE", "site": "lej1", "channel": "web", "lines": [{"sku": "A", "quantity": 1}]}
    assert (await c.post("/v1/orders", order)).status_code == 201
    return await c.post("/v1/orders", {**order, "lines": [{"sku": "A", "quantity": 2}]})


async def not_active(c: Central) -> httpx2.Response:
    hold = (await c.post("/v1/reservations", HOLD)).json()["id"]
    assert (await c.post(f"/v1/reservations/{hold}/release")).json()["status"] == "released"
    return await c.post(f"/v1/reservations/{hold}/commit")


async def expired(c: Central) -> httpx2.Response:
    hold = (await c.post("/v1/reservations", HOLD)).json()["id"]
    with writing(c.engine) as connection:  # its time has passed, and nobody has written that down
        table = tables.reservation
        connection.execute(sa.update(table).where(table.c.id == hold).values(expires_us=1))
    assert (await c.get(f"/v1/reservations/{hold}")).json()["status"] == "expired"
    return await c.post(f"/v1/reservations/{hold}/commit")


async def unknown_location(c: Central) -> httpx2.Response:
    body = {"sku": "A", "site": "lej1", "location": "NOWHERE", "delta": 1, "reason": "found"}
    return await c.post("/v1/adjustments", body)


async def mismatch(c: Central) -> httpx2.Response:
    key = {"Idempotency-Key": "mismatch"}
    assert (await c.post("/v1/reservations", HOLD, headers=key)).status_code == 201
    return await c.post("/v1/reservations", {**HOLD, "ttl_s": 601}, headers=key)


async def in_progress(c: Central) -> httpx2.Response:
    key = {"Idempotency-Key": "slow"}
    slow = c.app.state.back.ledger = Slow(c.ledger)
    first = asyncio.create_task(c.post("/v1/reservations", HOLD, headers=key))
    await slow.asked.wait()
    second = await c.post("/v1/reservations", HOLD, headers=key)
    slow.go.set()
    assert (await first).status_code == 201
    c.app.state.back.ledger = c.ledger
    assert (await c.post("/v1/reservations", HOLD, headers=key)).headers["Idempotency-Replayed"] == "true"
    assert second.headers["Retry-After"]
    return second


async def cursor_gone(c: Central) -> httpx2.Response:
    cursor = (await c.get("/v1/movements")).json()["next"]
    assert (await c.get(f"/v1/movements?after={cursor}")).json()["movements"] == []
    with writing(c.engine) as connection:
        new_history(connection, "restored")
    answer = await c.get(f"/v1/movements?after={cursor}")
    assert (await c.get(f"/v1/events?after={cursor}")).status_code == 410
    again = await c.get(f"/v1/movements?after={answer.json()['start']}")
    assert again.json()["movements"], "the cursor in `start` begins anew"
    return answer


async def forbidden(c: Central) -> httpx2.Response:
    return await c.post("/v1/reservations", HOLD, role="read")


async def unavailable(c: Central) -> httpx2.Response:
    c.app.state.back.ledger = Failing(LedgerBusy("10000 commands are waiting"))
    answer = await c.post("/v1/reservations", HOLD, headers={"Idempotency-Key": "busy"})
    c.app.state.back.ledger = c.ledger
    assert answer.headers["Retry-After"]
    retried = await c.post("/v1/reservations", HOLD, headers={"Idempotency-Key": "busy"})
    assert retried.status_code == 201, "503 is never stored under a key"
    return answer


async def internal(c: Central) -> httpx2.Response:
    c.app.state.back.ledger = Failing(RuntimeError("/secret/path of the inside"))
    with capture_logs() as logged:
        answer = await c.post("/v1/reservations", HOLD)
    c.app.state.back.ledger = c.ledger
    assert "secret" not in answer.text
    [entry] = [one for one in logged if one.get("incident")]
    assert entry["incident"] == answer.json()["incident"], "the log says more under the same name"
    return answer


def asks(method: str, path: str, **more: Any) -> Provoke:
    return lambda c: c.ask(method, path, **more)


PROVOKED: dict[str, Provoke] = {
    "insufficient-stock": insufficient,
    "already-exists": already_exists,
    "not-active": not_active,
    "expired": expired,
    "unknown-item": asks("POST", "/v1/reservations", json={**HOLD, "sku": "NOPE"}),
    "unknown-location": unknown_location,
    "unknown-document": asks("POST", "/v1/orders/NOPE/cancel"),
    "unknown-reservation": asks("POST", "/v1/reservations/NOPE/commit"),
    "invalid": asks("POST", "/v1/reservations", json={**HOLD, "quantity": 0}),
    "idempotency-mismatch": mismatch,
    "in-progress": in_progress,
    "unreadable": asks("POST", "/v1/reservations", content=b"{nope", headers=JSON),
    "too-large": asks("POST", "/v1/reservations", content=b" " * (1024 * 1024 + 1), headers=JSON),
    "unsupported-media-type": asks(
        "POST", "/v1/reservations", content=b"a=b", headers={"Content-Type": "text/plain"}
    ),
    "not-found": asks("GET", "/v1/nothing-here"),
    "method-not-allowed": asks("DELETE", "/v1/items/A"),
    "unauthorized": asks("GET", "/v1/items/A", role=None),
    "forbidden": forbidden,
    "rate-limited": asks("GET", "/v1/items/A"),  # see below
    "unknown-host": asks("GET", "/v1/items/A", headers={"Host": "evil.example"}),
    "unavailable": unavailable,
    "internal": internal,
    "cursor-gone": cursor_gone,
}


async def test_every_problem_of_the_table(database_url: str) -> None:
    assert set(PROVOKED) == set(PROBLEMS)
    async with central(database_url) as c:
        await c.item("A", 20)
        for code, provoke in PROVOKED.items():
            if code == "rate-limited":
                continue
            answer = await provoke(c)
            kind = PROBLEMS[code]
            assert answer.headers["Content-Type"] == "application/problem+json", (code, answer.text)
            body = answer.json()
            assert (body["type"], body["status"], answer.status_code) == (
                f"urn:tallyman:problem:{code}",
                kind.status,
                kind.status,
            ), answer.text
            assert body["detail"], code
            assert body["title"], code


async def test_a_token_that_asks_too_often_is_told_when_to_come_back(database_url: str) -> None:
    async with central(database_url, requests_per_s=5) as c:
        answers = [await c.get("/v1/items/A") for _ in range(30)]
        assert answers[0].headers["RateLimit-Policy"] == '"token";q=5;w=1'
        refused = [one for one in answers if one.status_code == 429]
        assert refused
        assert refused[0].json()["type"] == "urn:tallyman:problem:rate-limited"
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert (await c.get("/v1/items/A", role="admin")).status_code == 404, (
            "another token has its own bucket"
        )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "nothing at all"),
        (b"\xff\xfe", "no UTF-8"),
        (b"[" * 100_000, "nested without end"),
        (b'{"quantity": ' + b"9" * 5000 + b"}", "a number of 5,000 digits"),
        (b'{"sku":"A","quantity":NaN,"channel":"web","ttl_s":60}', "NaN is no number"),
        (b'{"sku":"\\ud800","quantity":1,"channel":"web","ttl_s":60}', "half a character"),
        (b"null", "not an object"),
        (b"[]", "not an object"),
    ],
)
async def test_no_body_makes_a_defect(tmp_path: Any, content: bytes, why: str) -> None:
    async with central(f"sqlite:///{tmp_path}/central.db") as c:
        answer = await c.ask("POST", "/v1/reservations", content=content, headers=JSON)
        assert answer.status_code in (400, 422), (why, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_bad_input_names_the_field_and_loses_nothing(tmp_path: Any) -> None:
    async with central(f"sqlite:///{tmp_path}/central.db") as c:
        await c.item("A", 5)
        bad: list[tuple[str, str, Any, str]] = [
            ("PUT", "/v1/items/A%00B", {"name": "x"}, "path.sku"),
            ("PUT", "/v1/items/" + "x" * 201, {"name": "x"}, "path.sku"),
            ("PUT", "/v1/items/A", {"name": "x", "sku": "B"}, "body.sku"),
            ("PUT", "/v1/items/A", {"name": "x", "colour": "red"}, "body.colour"),
            ("PUT", "/v1/locations/L", {"zone": "z"}, "body.site"),
            ("PUT", "/v1/locations/L", {"site": "s\x00"}, "body.site"),
            ("POST", "/v1/orders", {"id": "O", "site": "s", "channel": "c", "lines": []}, "body.lines"),
            (
                "POST",
                "/v1/orders",
                {"id": "O\n", "site": "s", "channel": "c", "lines": [{}]},
                "body.lines.0.sku",
            ),
            ("GET", "/v1/movements?limit=0", None, "query.limit"),
            ("GET", "/v1/movements?limit=1001", None, "query.limit"),
            ("GET", "/v1/movements?after=nonsense", None, "query.after"),
            ("GET", "/v1/movements?sku=%00", None, "query.sku"),
            ("GET", "/v1/orders?cursor=nonsense", None, "query.cursor"),
            ("GET", "/v1/orders?status=lost", None, "query.status"),
            ("GET", "/v1/events?after=nonsense", None, "query.after"),
        ]
        for method, path, body, where in bad:
            more = {} if body is None else {"json": body}
            answer = await c.ask(method, path, **more)
            assert answer.status_code == 422, (path, body, answer.text)
            assert where in [one["where"] for one in answer.json()["errors"]], (path, answer.text)
        key = await c.post("/v1/reservations", HOLD, headers={"Idempotency-Key": "a b"})
        assert key.json()["errors"][0]["where"] == "header.Idempotency-Key"
        assert (await c.get("/v1/availability/A")).json()["available"] == 5
        assert len((await c.get("/v1/movements")).json()["movements"]) == 1


async def test_a_body_without_a_length_is_bounded_as_well(tmp_path: Any) -> None:
    async with central(f"sqlite:///{tmp_path}/central.db") as c:

        async def pieces() -> Any:
            for _ in range(40):
                yield b" " * 65536

        answer = await c.ask("POST", "/v1/reservations", content=pieces(), headers=JSON)
        assert answer.status_code == 413
        assert json.loads(answer.text)["type"] == "urn:tallyman:problem:too-large"
        assert (await c.get("/healthz", role=None)).status_code == 200


async def test_what_only_a_database_would_stumble_over_is_refused_before(database_url: str) -> None:
    """Forged cursors, sums beyond all bounds, and names that no index of PostgreSQL takes."""
    async with central(database_url) as c:
        await c.item("A", 5)
        for path, name in (("discrepancies", "discrepancies"), ("orders", "orders")):
            for forged in ("\x00", *(("x", "-1", "9" * 30) if path == "discrepancies" else ())):
                answer = await c.get(f"/v1/{path}?cursor={cursors.encode(name, forged)}")
                assert answer.status_code == 422, (path, forged, answer.text)
        line = {"sku": "A", "quantity": MAX_QUANTITY}
        order = {"id": "PO-1", "site": "lej1", "lines": [line] * 1001}
        answer = await c.post("/v1/purchase-orders", order)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:tallyman:problem:invalid")
        assert "of A at lej1 is more than" in answer.json()["detail"]
        wide = "".join(chr(0x20000 + 397 * number % 40_000) for number in range(126))
        assert (await c.put(f"/v1/items/{wide}", {"name": "x"})).status_code == 422
        site, sku, location, lot = (wide[number : number + 100] for number in (0, 5, 10, 15))
        await c.item(sku, site=site, location=location)
        body = {"sku": sku, "site": site, "location": location, "lot": lot, "delta": -1, "reason": "x"}
        assert (await c.post("/v1/adjustments", body)).status_code == 201
