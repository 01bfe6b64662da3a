"""Who may do what: tokens, roles, and that nobody learns anything without one."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from central import tables
from central.api import gate, tokens
from central.database import now_us, writing
from tests.support.central import central

WRITES = ("put", "post", "delete")


async def test_without_a_known_token_nothing_is_told(database_url: str) -> None:
    async with central(database_url) as c:
        for value, error in [
            (None, None),
            ("Basic dXNlcjpwYXNz", "invalid_request"),
            ("Bearer", "invalid_request"),
            ("Bearer " + "x" * 500, "invalid_request"),
            ("Bearer unknown", "invalid_token"),
        ]:
            headers = {} if value is None else {"Authorization": value}
            for path in ("/v1/items/A", "/v1/no/such/path"):
                answer = await c.get(path, role=None, headers=headers)
                assert answer.status_code == 401
                assert answer.json()["type"] == "urn:tallyman:problem:unauthorized"
                challenge = answer.headers["WWW-Authenticate"]
                assert challenge.startswith('Bearer realm="tallyman"')
                assert (f'error="{error}"' in challenge) == (error is not None)
        unread = await c.ask("POST", "/v1/orders", role=None, content=b"{not even JSON")
        assert unread.status_code == 401, "a stranger's body is not read"


async def test_only_the_hash_of_a_token_is_stored(database_url: str) -> None:
    async with central(database_url) as c:
        with c.engine.connect() as connection:
            rows = connection.execute(sa.select(tables.token)).all()
        assert {row.role for row in rows} == set(tokens.ROLES)
        for token in c.tokens.values():
            assert token.startswith(tokens.TOKEN_PREFIX)
            assert not any(token in str(row) for row in rows)
            assert tokens.hashed(token) in [row.hash for row in rows]


async def test_a_revoked_token_ends_within_seconds(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate.tokens, "REMEMBERED_S", 0.0)
    async with central(database_url) as c:
        assert (await c.get("/v1/items/A")).status_code == 404
        feed = await c.client.send(
            c.client.build_request("GET", c.url + "/v1/events", headers=c.bearer()), stream=True
        )
        with writing(c.engine) as connection:
            connection.execute(
                sa.update(tables.token)
                .where(tables.token.c.hash == tokens.hashed(c.tokens["operate"]))
                .values(revoked_us=now_us(connection))
            )
        assert (await c.get("/v1/items/A")).status_code == 401
        await c.item("A", 1, role="admin")
        async with asyncio.timeout(10):
            told = [line async for line in feed.aiter_lines()]
        await feed.aclose()
        assert not [line for line in told if line.startswith("data:")], "the feed ends with its token"
        assert (await c.get("/v1/items/B", role="admin")).status_code == 404


async def test_every_write_needs_more_than_the_role_to_read(tmp_path: Path) -> None:
    async with central(f"sqlite:///{tmp_path}/central.db") as c:
        document = (await c.get("/openapi.json", role=None)).json()
        writes = [
            (method, path)
            for path, operations in document["paths"].items()
            for method in operations
            if method in WRITES
        ]
        assert len(writes) >= 10
        for method, path in writes:
            answer = await c.ask(method.upper(), path.replace("{", "").replace("}", ""), role="read", json={})
            assert answer.status_code == 403, (method, path, answer.text)
            assert "operate" in answer.json()["detail"]
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if path.startswith("/v1/"):
                    assert operation["security"] == [{"bearer": []}], (method, path)
