"""The API's parts without a server: rates, cursors, keys, tokens, the problem table, what a page is told."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from central.api import cursors, keys
from central.api.keys import Running, key_for, read_key
from central.api.models import AdjustmentIn, ItemIn, ReservationIn
from central.api.problems import PROBLEMS, refused
from central.api.rates import BUCKETS_MAX, Rates
from central.api.tokens import REMEMBERED_MAX, REMEMBERED_S, ROLES, Caller, Remembered, hashed
from central.ledger.commands import ProblemCode, Refused
from central.pages.board import difference
from service.problems import _CODES as FRAMEWORK_CODES
from service.problems import Problem

# --- rates ------------------------------------------------------------------------------------------


def test_a_bucket_holds_one_second_and_fills_at_its_rate() -> None:
    rates = Rates(10)
    first = [rates.take("shop", 100.0) for _ in range(11)]
    assert [one.allowed for one in first] == [True] * 10 + [False]
    assert [one.remaining for one in first] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert first[-1].headers() == {"RateLimit-Policy": '"token";q=10;w=1', "RateLimit": '"token";r=0;t=1'}
    assert rates.take("other", 100.0).allowed
    assert [rates.take("shop", 100.25).allowed for _ in range(3)] == [True, True, False]
    assert sum(rates.take("shop", 1000.0).allowed for _ in range(20)) == 10


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    rates = Rates(1)
    assert rates.take("shop", 5.0).allowed
    assert not rates.take("shop", 5.0).allowed
    assert not rates.take("shop", 4.0).allowed


def test_buckets_are_bounded_and_the_oldest_is_forgotten() -> None:
    rates = Rates(1)
    assert rates.take("first", 0.0).allowed
    for number in range(BUCKETS_MAX):
        rates.take(f"token {number}", 0.0)
    assert rates.take("first", 0.0).allowed, "forgotten, so it starts with a full bucket"
    assert not rates.take(f"token {BUCKETS_MAX - 1}", 0.0).allowed


# --- cursors ----------------------------------------------------------------------------------------


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=200), min_size=1, max_size=3)
)
def test_a_cursor_gives_back_its_parts(parts: list[str]) -> None:
    cursor = cursors.encode(*parts)
    assert cursor.isascii()
    if len(cursor) <= cursors.CURSOR_MAX_CHARS:
        assert cursors.decode(cursor, len(parts)) == parts


@given(st.text(max_size=60))
def test_no_text_that_was_made_up_breaks_a_cursor(text: str) -> None:
    for parts in (1, 2):
        try:
            cursors.decode(text, parts)
        except cursors.BadCursor:
            continue
    with pytest.raises(cursors.BadCursor):
        cursors.parse_movement_cursor(text + "!")


@pytest.mark.parametrize(
    "cursor",
    ["x" * 1001, "é", "_w", cursors.encode("a"), cursors.encode("a", "b", "c"), cursors.encode("a", "-1"),
     cursors.encode("a", "١"), cursors.encode("a", "1" * 19)],
)  # fmt: skip
def test_what_is_no_movement_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(cursors.BadCursor):
        cursors.parse_movement_cursor(cursor)


# --- idempotency keys -------------------------------------------------------------------------------


def hold(**changes: Any) -> ReservationIn:
    return ReservationIn(**{"sku": "A", "quantity": 1, "channel": "web", "ttl_s": 60, **changes})


def key(body: ReservationIn | None = None, **changes: str) -> keys.Key:
    parts = {"token_hash": "t", "method": "POST", "path": "/v1/reservations", "key": "k", **changes}
    return key_for(body=body, **parts)


def test_a_key_is_worth_something_within_token_method_and_path_alone() -> None:
    scopes = {
        key().scope,
        *(key(**{name: "other"}).scope for name in ("token_hash", "method", "path", "key")),
    }
    assert len(scopes) == 5
    assert key(path="/a\nb", key="c").scope != key(path="/a", key="b\nc"[0:1]).scope


def test_what_a_body_leaves_out_counts_as_its_default() -> None:
    assert key(hold()).body_hash == key(hold(site=None)).body_hash
    assert key(hold()).body_hash != key(hold(site="lej1")).body_hash
    assert key().body_hash != key(hold()).body_hash


@pytest.mark.parametrize("value", ["", " ", "a b", "é", "a\x00", "x" * 201])
def test_a_key_is_visible_ascii(value: str) -> None:
    with pytest.raises(Problem) as raised:
        read_key(value)
    assert raised.value.code == "invalid"
    assert "Idempotency-Key" in raised.value.detail


def test_a_key_runs_once_at_a_time() -> None:
    running = Running()
    assert read_key(None) is None
    with running.claim(None), running.claim(None), running.claim(key()):
        with pytest.raises(Problem) as raised, running.claim(key()):
            pass
        assert (raised.value.status, raised.value.code) == (409, "in-progress")
        with running.claim(key(key="other")):
            pass
    with running.claim(key()):
        pass


# --- tokens -----------------------------------------------------------------------------------------


def test_each_role_may_do_what_those_before_it_may() -> None:
    may = {role: [one for one in ROLES if Caller("h", "n", role).may(one)] for role in ROLES}
    assert may == {"read": ["read"], "operate": ["read", "operate"], "admin": ["read", "operate", "admin"]}


def test_a_token_is_remembered_for_a_while_and_not_without_bound() -> None:
    remembered = Remembered()
    caller = Caller(hashed("a"), "shop", "read")
    remembered.put(caller, 100.0)
    assert remembered.get(caller.token_hash, 100.0 + REMEMBERED_S - 0.01) is caller
    assert remembered.get(caller.token_hash, 100.0 + REMEMBERED_S) is None
    remembered.put(caller, 100.0)
    for number in range(REMEMBERED_MAX):
        remembered.put(Caller(str(number), "x", "read"), 100.0)
    assert remembered.get(caller.token_hash, 100.0) is None
    assert hashed("\ud800"), "whatever a header holds can be looked up"


# --- problems ---------------------------------------------------------------------------------------


def test_every_code_of_the_ledger_has_its_status_in_the_table() -> None:
    assert set(get_args(ProblemCode)) <= set(PROBLEMS)
    for code, kind in PROBLEMS.items():
        assert 400 <= kind.status < 600, code
        assert kind.title, code
        assert kind.meaning.endswith("."), code
    answer = refused(Refused("expired", "too late", {"reservation": "r"}, replayed=True))
    assert (answer.status, answer.code, answer.extra["reservation"]) == (409, "expired", "r")
    assert answer.headers == {"Idempotency-Replayed": "true"}


def test_the_page_kit_speaks_of_the_same_problems() -> None:
    for status, code in FRAMEWORK_CODES.items():
        if status != 400:  # Content-Length that is no number: the kit's own, before any route
            assert PROBLEMS[code].status == status


# --- requests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "body", "where"),
    [
        (ReservationIn, {"quantity": 0}, "quantity"),
        (ReservationIn, {"quantity": 10**12 + 1}, "quantity"),
        (ReservationIn, {"quantity": "5"}, "quantity"),
        (ReservationIn, {"quantity": True}, "quantity"),
        (ReservationIn, {"quantity": 1.5}, "quantity"),
        (ReservationIn, {"ttl_s": 0}, "ttl_s"),
        (ReservationIn, {"ttl_s": 30 * 24 * 3600 + 1}, "ttl_s"),
        (ReservationIn, {"sku": ""}, "sku"),
        (ReservationIn, {"sku": "x" * 201}, "sku"),
        (ReservationIn, {"sku": "A\n"}, "sku"),
        (ReservationIn, {"sku": "A\x1d"}, "sku"),
        (ReservationIn, {"sku": "A\u2028"}, "sku"),
        (ReservationIn, {"sku": "\ud800"}, "sku"),
        (ReservationIn, {"channel": "\x7f"}, "channel"),
        (ReservationIn, {"side": "x"}, "side"),
        (AdjustmentIn, {"delta": 0}, "delta"),
        (AdjustmentIn, {"delta": 10**12 + 1}, "delta"),
        (ItemIn, {"gtins": [{"gtin": "123456789"}]}, "gtins"),
        (ItemIn, {"gtins": [{"gtin": "12345678", "quantity": 0}]}, "gtins"),
        (ItemIn, {"scale": 7}, "scale"),
        (ItemIn, {"tracking": "Lot"}, "tracking"),
    ],
)
def test_what_is_out_of_bounds_is_named(model: Any, body: dict[str, Any], where: str) -> None:
    good = {
        ReservationIn: {"sku": "A", "quantity": 1, "channel": "web", "ttl_s": 60},
        AdjustmentIn: {"sku": "A", "site": "s", "location": "l", "delta": 1, "reason": "r"},
        ItemIn: {"name": "n"},
    }[model]
    model.model_validate(good)
    with pytest.raises(ValidationError) as raised:
        model.model_validate({**good, **body})
    assert raised.value.errors()[0]["loc"][0] == where


# --- the board --------------------------------------------------------------------------------------


def test_a_page_is_told_what_changed_and_no_more() -> None:
    before = {"total": 2, "rows": [{"sku": "A", "on_hand": 1}, {"sku": "B", "on_hand": 1}]}
    after = {"total": 2, "rows": [{"sku": "B", "on_hand": 2}, {"sku": "C", "on_hand": 1}]}
    assert difference(before, before, "sku") is None
    assert difference(before, after, "sku") == {
        "total": 2,
        "whole": False,
        "rows": after["rows"],
        "gone": ["A"],
    }
    assert difference(None, after, "sku") == {"whole": True, **after}
    assert difference(before, after, None) == {"whole": True, **after}
