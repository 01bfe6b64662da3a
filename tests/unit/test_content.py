"""The same content has the same hash, whoever computes it."""

import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sync.content import content_hash, without_nulls

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(max_size=20)
    | st.floats(allow_nan=False)
)
values = st.recursive(
    leaves,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=6), v, max_size=4),
    max_leaves=12,
)
data = st.dictionaries(st.text(max_size=8), values, max_size=6)


@given(data)
def test_it_is_the_hash_of_the_canonical_json_of_rfc_8785(data: dict[str, Any]) -> None:
    content = {
        "type": "t",
        "time": "now",
        "data": without_nulls({k: v for k, v in data.items() if k != "previous"}),
    }
    try:
        expected = hashlib.sha256(rfc8785.dumps(content)).hexdigest()
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        return  # a lone surrogate has no canonical form
    assert content_hash(type="t", time="now", data=data) == expected


def test_order_nulls_and_previous_do_not_matter_and_everything_else_does() -> None:
    def of(data: dict[str, Any]) -> str:
        return content_hash(type="t", time="now", data=data)

    plain = of({"sku": "A", "capture": {"raw": "x"}})
    assert plain == of(
        {"previous": {"incarnation": "i"}, "capture": {"raw": "x", "device": None}, "sku": "A", "lot": None}
    )
    assert plain != of({"sku": "A", "capture": {"raw": "y"}})
    assert plain != content_hash(type="t", time="later", data={"sku": "A", "capture": {"raw": "x"}})


@pytest.mark.parametrize("odd", [2**60, float("inf"), "\ud800"])
def test_what_has_no_canonical_form_still_compares(odd: Any) -> None:
    first, again = (content_hash(type="t", time="now", data={"odd": odd}) for _ in range(2))
    assert first == again != content_hash(type="t", time="now", data={"odd": 1})
