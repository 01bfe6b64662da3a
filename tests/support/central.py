"""Central's API and dashboard, served for real on a port of its own, over a ledger and a database.

Without MQTT: what agents would send is submitted to the ledger by `book`.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import sqlalchemy as sa

from central.api import app as api
from central.api import tokens
from central.api.tokens import Role
from central.database import migrate, open_engine, writing
from central.ledger.commands import BookBatch
from central.ledger.service import Ledger
from service import metrics, process
from service.config import Listen
from sync import ids, messages


@dataclass
class Central:
    """A running central. `get`, `put` and `post` ask with the token of the role `operate`."""

    url: str
    app: Any
    engine: sa.Engine
    ledger: Ledger
    client: httpx2.AsyncClient
    tokens: dict[str, str]
    broker_online: list[bool] = field(default_factory=lambda: [True])
    incarnation: str = field(default_factory=lambda: ids.incarnation_id(secrets.token_bytes))
    sequence: int = 0

    def bearer(self, role: str = "operate") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    async def ask(
        self,
        method: str,
        path: str,
        *,
        role: str | None = "operate",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> httpx2.Response:
        known = self.bearer(role) if role else {}
        return await self.client.request(
            method, self.url + path, headers={**known, **(headers or {})}, **more
        )

    async def get(self, path: str, **more: Any) -> httpx2.Response:
        return await self.ask("GET", path, **more)

    async def put(self, path: str, body: Any, **more: Any) -> httpx2.Response:
        return await self.ask("PUT", path, json=body, **more)

    async def post(self, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        return await self.ask("POST", path, **({} if body is None else {"json": body}), **more)

    async def item(
        self, sku: str, stock: int = 0, *, site: str = "lej1", location: str = "A-1", **more: Any
    ) -> None:
        """An item, a location, and so much of it there."""
        assert (await self.put(f"/v1/items/{sku}", {"name": f"Item {sku}"}, **more)).status_code in (200, 201)
        assert (await self.put(f"/v1/locations/{location}", {"site": site}, **more)).status_code in (200, 201)
        if stock:
            body = {"sku": sku, "site": site, "location": location, "delta": stock, "reason": "opening"}
            assert (await self.post("/v1/adjustments", body, **more)).status_code == 201

    async def book(
        self, *facts: tuple[str, dict[str, Any]], agent: str = "dock-1", site: str = "lej1"
    ) -> Any:
        """Events of an agent, as its batch."""
        if self.sequence == 0:
            facts = tuple((kind, {**data, "previous": None}) for kind, data in facts)
        texts = []
        for kind, data in facts:
            self.sequence += 1
            envelope = {
                "specversion": "1.0",
                "id": ids.event_id(1_790_000_000_000 + self.sequence, secrets.token_bytes),
                "source": f"/sites/{site}/agents/{agent}",
                "type": f"tallyman.{kind}.v1",
                "time": "2026-11-20T08:15:30.123456Z",
                "incarnation": self.incarnation,
                "sequence": messages.sequence_text(self.sequence),
                "data": data,
            }
            texts.append(json.dumps(envelope).encode())
        events = messages.decode_batch(messages.join_batch(texts))
        return await self.ledger.submit(BookBatch(agent, tuple(events), tuple(texts)))


@asynccontextmanager
async def central(
    database_url: str, *, requests_per_s: int = 100_000, read_timeout_s: float = 10.0
) -> AsyncIterator[Central]:
    """Central over this database; ended at the end."""
    engine = open_engine(database_url)
    await asyncio.to_thread(migrate, engine)
    ledger = Ledger(engine)
    await ledger.start()
    online = [True]
    parts = api.Parts(
        engine=engine,
        ledger=ledger,
        registry=metrics.create_registry("central", "test"),
        version="test",
        broker_online=lambda: online[0],
        requests_per_s=requests_per_s,
    )
    app = api.create(parts)
    ledger.on_commit(lambda _: app.state.commits.wake())
    ledger.on_commit(lambda _: app.state.board.wake())
    listening: asyncio.Future[Listen] = asyncio.get_running_loop().create_future()
    tasks = [
        asyncio.create_task(
            process.serve_http(
                app, Listen("127.0.0.1", 0), announce=listening.set_result, shutdown_timeout_s=1
            )
        ),
        asyncio.create_task(app.state.board.run(app.state.back.read, parts.broker_online)),
    ]
    try:
        address = await listening
        async with httpx2.AsyncClient(timeout=read_timeout_s) as client:
            yield Central(
                f"http://{address.authority}",
                app,
                engine,
                ledger,
                client,
                await asyncio.to_thread(_tokens, engine),
                online,
            )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await ledger.close()
        engine.dispose()


def _tokens(engine: sa.Engine) -> dict[str, str]:
    roles: tuple[Role, ...] = tokens.ROLES
    with writing(engine) as connection:
        return {role: tokens.create(connection, name=f"test-{role}", role=role) for role in roles}
