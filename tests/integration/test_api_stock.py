"""The main job through REST, and the questions of a careful buyer, on both engines."""

import asyncio
from typing import Any

import httpx2
from jsonschema import Draft202012Validator

from tests.support.central import Central, central

HOLD = {"sku": "A", "quantity": 1, "channel": "web", "ttl_s": 600}


async def ok(answer: httpx2.Response, status: int = 200) -> Any:
    assert answer.status_code == status, (answer.request.url, answer.text)
    return answer.json()


async def test_from_purchase_order_to_picked_order(database_url: str) -> None:
    async with central(database_url) as c:
        await ok(await c.put("/v1/items/A", {"name": "Apple", "gtins": [{"gtin": "4006381333931"}]}), 201)
        await ok(await c.put("/v1/items/A", {"name": "Apples", "gtins": [{"gtin": "4006381333931"}]}))
        for name in ("DOCK", "BIN-1"):
            await ok(await c.put(f"/v1/locations/{name}", {"site": "lej1", "walk_order": 3}), 201)
        order = {"id": "PO-1", "site": "lej1", "supplier": "Farm", "lines": [{"sku": "A", "quantity": 10}]}
        await ok(await c.post("/v1/purchase-orders", order), 201)
        await ok(await c.post("/v1/purchase-orders", order))  # the same again is the same

        await c.book(
            ("received", {"gtin": "4006381333931", "quantity": 8, "to_location": "DOCK", "document": "PO-1"}),
            ("put_away", {"sku": "A", "quantity": 8, "from_location": "DOCK", "to_location": "BIN-1"}),
        )
        line = (await ok(await c.get("/v1/purchase-orders/PO-1")))["lines"][0]
        assert (line["expected"], line["received"], line["over"], line["short"]) == (10, 8, 0, 2)
        closed = await ok(await c.post("/v1/purchase-orders/PO-1/close"))
        assert closed["status"] == "closed"

        hold = await ok(await c.post("/v1/reservations", {**HOLD, "quantity": 3}), 201)
        assert (hold["site"], hold["status"]) == ("lej1", "active")
        level = await ok(await c.get("/v1/availability/A"))
        assert (level["on_hand"], level["available"], level["reserved"]) == (8, 5, 3)

        sold = {"id": "SO-1", "site": "lej1", "channel": "web", "lines": [{"sku": "A", "quantity": 4}]}
        await ok(await c.post("/v1/orders", {**sold, "reservations": [hold["id"]]}), 201)
        assert (await ok(await c.get(f"/v1/reservations/{hold['id']}")))["order"] == "SO-1"
        await c.book(("picked", {"sku": "A", "quantity": 1, "from_location": "BIN-1", "document": "SO-1"}))
        level = await ok(await c.get("/v1/availability/A?site=lej1"))
        assert (level["available"], level["committed"], level["picked"], level["on_hand"]) == (4, 3, 1, 8)
        assert (await ok(await c.get("/v1/orders/SO-1")))["lines"][0]["picked"] == 1
        cancelled = await ok(await c.post("/v1/orders/SO-1/cancel"))
        assert cancelled["status"] == "cancelled"
        assert (await ok(await c.get("/v1/availability/A")))["available"] == 7

        booked = await ok(await c.get("/v1/movements?document=SO-1"))
        assert [one["event"] for one in booked["movements"]] == ["committed", "picked", "cancelled"]
        for one in booked["movements"]:
            for book in ("physical", "promise"):
                assert sum(entry["delta"] for entry in one["entries"] if entry["book"] == book) == 0


async def test_two_channels_claim_the_last_unit_at_once(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 1)
        answers = await asyncio.gather(
            *(c.post("/v1/reservations", {**HOLD, "channel": channel}) for channel in ("web", "shop"))
        )
        assert sorted(one.status_code for one in answers) == [201, 409]
        [refused] = [one.json() for one in answers if one.status_code == 409]
        assert refused["type"] == "urn:tallyman:problem:insufficient-stock"
        assert (refused["sku"], refused["available"], refused["requested"]) == ("A", 0, 1)
        level = await ok(await c.get("/v1/availability/A"))
        assert (level["on_hand"], level["available"], level["reserved"]) == (1, 0, 1)


async def test_forty_callers_and_ten_units_sell_exactly_ten(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 10)
        asks = [
            c.post("/v1/reservations", HOLD, headers={"Idempotency-Key": f"cart-{number}"})
            for number in range(40)
        ]
        statuses = [answer.status_code for answer in await asyncio.gather(*asks)]
        assert (statuses.count(201), statuses.count(409)) == (10, 30)


async def test_a_key_replays_its_answer_for_ever_also_a_refusal(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 2)
        key = {"Idempotency-Key": "cart-7"}
        first = await c.post("/v1/reservations", HOLD, headers=key)
        again = await c.post("/v1/reservations", {**HOLD, "site": None}, headers=key)
        assert (again.status_code, again.json()) == (first.status_code, first.json())
        assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (
            None,
            "true",
        )
        other = await c.post("/v1/reservations", HOLD, headers=key, role="admin")
        assert other.json()["id"] != first.json()["id"], "another token's key is another key"

        refusal = {"Idempotency-Key": "cart-8"}
        refused = await c.post("/v1/reservations", HOLD, headers=refusal)
        assert refused.status_code == 409
        await ok(await c.post(f"/v1/reservations/{first.json()['id']}/release"))
        replayed = await c.post("/v1/reservations", HOLD, headers=refusal)
        assert (replayed.status_code, replayed.json()) == (409, refused.json())
        assert replayed.headers["Idempotency-Replayed"] == "true"
        assert (await ok(await c.get("/v1/availability/A")))["reserved"] == 1


async def test_a_hold_is_gone_the_instant_it_expires(database_url: str) -> None:
    async with central(database_url) as c:  # nobody sweeps here
        await c.item("A", 1)
        hold = await ok(await c.post("/v1/reservations", {**HOLD, "ttl_s": 1}), 201)
        assert (await c.post("/v1/reservations", HOLD)).status_code == 409
        async with asyncio.timeout(5):
            while (await ok(await c.get("/v1/availability/A")))["available"] == 0:
                await asyncio.sleep(0.05)
        assert (await ok(await c.get(f"/v1/reservations/{hold['id']}")))["status"] == "expired"
        late = await c.post(f"/v1/reservations/{hold['id']}/commit")
        assert (late.status_code, late.json()["type"]) == (409, "urn:tallyman:problem:expired")
        await ok(await c.post("/v1/reservations", HOLD), 201)


async def test_an_adjustment_with_an_id_books_once(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 5)
        body = {
            "id": "count-7",
            "sku": "A",
            "site": "lej1",
            "location": "A-1",
            "delta": -2,
            "reason": "count",
        }
        first = await ok(await c.post("/v1/adjustments", body), 201)
        assert await ok(await c.post("/v1/adjustments", body)) == first
        other = await c.post("/v1/adjustments", {**body, "delta": -3})
        assert other.json()["type"] == "urn:tallyman:problem:already-exists"
        assert (await ok(await c.get("/v1/availability/A")))["on_hand"] == 3
        [movement] = (await ok(await c.get("/v1/movements?limit=1&sku=A&after=" + await cursor(c, 1))))[
            "movements"
        ]
        assert (movement["actor"], movement["reason"]) == ("token:test-operate", "count")


async def cursor(c: Central, count: int) -> str:
    return str((await c.get(f"/v1/movements?limit={count}")).json()["next"])


async def test_lists_go_on_from_their_cursor_without_gap_or_repetition(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 9)
        for number in range(5):
            lines = [{"sku": "A", "quantity": 1}]
            body = {"id": f"SO/{number}", "site": "lej1", "channel": "web", "lines": lines}
            await ok(await c.post("/v1/orders", body), 201)
        assert (await ok(await c.post("/v1/orders/SO%2F3/cancel")))["id"] == "SO/3", "an id may hold a slash"
        found, following = [], "/v1/orders?limit=2"
        while following:
            body = await ok(await c.get(following))
            found += [one["id"] for one in body["orders"]]
            following = f"/v1/orders?limit=2&cursor={body['next']}" if body["next"] else ""
        assert found == [f"SO/{number}" for number in range(5)]
        cancelled = await ok(await c.get("/v1/orders?status=cancelled"))
        assert [one["id"] for one in cancelled["orders"]] == ["SO/3"]
        wrong = await c.get(
            f"/v1/purchase-orders?cursor={(await c.get('/v1/orders?limit=1')).json()['next']}"
        )
        assert wrong.status_code == 422

        page = await ok(await c.get("/v1/movements?limit=4"))
        rest = await ok(await c.get(f"/v1/movements?after={page['next']}"))
        numbers = [one["movement"] for one in page["movements"] + rest["movements"]]
        assert numbers == list(range(1, len(numbers) + 1))
        assert (await ok(await c.get(f"/v1/movements?after={rest['next']}")))["movements"] == []


async def test_what_does_not_add_up_is_listed_until_it_does(database_url: str) -> None:
    async with central(database_url) as c:
        await c.item("A", 1)
        await c.book(("picked", {"sku": "A", "quantity": 3, "from_location": "A-1"}))
        level = await ok(await c.get("/v1/availability/A"))
        assert (level["available"], level["owed"], level["overpromised"]) == (0, 2, 2)
        found = (await ok(await c.get("/v1/discrepancies?status=open&sku=A")))["discrepancies"]
        assert {one["kind"] for one in found} == {"owed", "overpromised"}
        assert all(one["owner"] and one["due_at"] and one["movements"] == [2] for one in found)
        body = {"sku": "A", "site": "lej1", "location": "A-1", "delta": 2, "reason": "found behind"}
        await ok(await c.post("/v1/adjustments", body), 201)
        assert (await ok(await c.get("/v1/discrepancies?status=open")))["discrepancies"] == []
        page = await ok(await c.get("/v1/discrepancies?limit=1"))
        following = await ok(await c.get(f"/v1/discrepancies?limit=1&cursor={page['next']}"))
        assert page["discrepancies"][0]["id"] != following["discrepancies"][0]["id"]
        assert following["next"] is None


async def test_answers_are_what_the_document_says(database_url: str) -> None:
    async with central(database_url) as c:
        document = (await c.get("/openapi.json", role=None)).json()
        assert document["openapi"].startswith("3.1")
        await c.item("A", 5)
        hold = (await c.post("/v1/reservations", HOLD)).json()["id"]
        order = {"id": "SO-1", "site": "lej1", "channel": "web", "lines": [{"sku": "A", "quantity": 9}]}
        purchase = {"id": "PO-1", "site": "lej1", "lines": [{"sku": "A", "quantity": 9}]}
        change = {"sku": "A", "site": "lej1", "location": "A-1", "delta": 5, "reason": "found"}
        asked: list[tuple[str, str, str, Any]] = [
            ("get", "/v1/items/{sku}", "/v1/items/A", None),
            ("get", "/v1/items/{sku}", "/v1/items/unknown", None),
            ("put", "/v1/items/{sku}", "/v1/items/B", {"name": "B"}),
            ("put", "/v1/items/{sku}", "/v1/items/B", {}),
            ("get", "/v1/locations/{id}", "/v1/locations/A-1", None),
            ("post", "/v1/orders", "/v1/orders", order),
            ("post", "/v1/adjustments", "/v1/adjustments", change),
            ("post", "/v1/orders", "/v1/orders", order),
            ("get", "/v1/orders/{id}", "/v1/orders/SO-1", None),
            ("get", "/v1/orders", "/v1/orders", None),
            ("post", "/v1/purchase-orders", "/v1/purchase-orders", purchase),
            ("get", "/v1/purchase-orders/{id}", "/v1/purchase-orders/PO-1", None),
            ("get", "/v1/purchase-orders", "/v1/purchase-orders", None),
            ("get", "/v1/reservations/{id}", f"/v1/reservations/{hold}", None),
            ("post", "/v1/reservations/{id}/release", f"/v1/reservations/{hold}/release", None),
            ("post", "/v1/reservations/{id}/commit", f"/v1/reservations/{hold}/commit", {}),
            ("get", "/v1/availability/{sku}", "/v1/availability/A", None),
            ("get", "/v1/movements", "/v1/movements", None),
            ("get", "/v1/discrepancies", "/v1/discrepancies", None),
        ]
        for method, template, path, body in asked:
            answer = await c.ask(method.upper(), path, **({} if body is None else {"json": body}))
            described = document["paths"][template][method]["responses"][str(answer.status_code)]
            kind = answer.headers["Content-Type"].partition(";")[0]
            schema = {**described["content"][kind]["schema"], "components": document["components"]}
            Draft202012Validator(schema).validate(answer.json())
