"""The tables of symbology ids, walked whole."""

import pytest

from devices.wire.symbologies import AIM_ID, HONEYWELL, SSI, ZEBRA, Meaning, aim_id, starts

MEANINGS = [
    *(pytest.param(meaning, id=f"{name} {code!r}") for name, table in
      {"zebra": ZEBRA, "honeywell": HONEYWELL}.items() for code, meaning in table.items()),
    *(pytest.param(meaning, id=f"ssi {code:02X}") for code, meaning in SSI.items()),
]  # fmt: skip


@pytest.mark.parametrize("meaning", MEANINGS)
def test_every_id_means_an_aim_id_or_none(meaning: Meaning) -> None:
    for length in range(20):
        found = aim_id(meaning, length)
        assert found is None or AIM_ID.fullmatch(found.encode())


def test_the_longest_id_that_fits_is_taken() -> None:
    for table in (ZEBRA, HONEYWELL):
        for code in table:
            found = starts(table).match(code + b"0")
            assert found is not None and found[0] == code


def test_what_is_not_in_a_table_proves_nothing() -> None:
    assert aim_id(SSI.get(0x99), 13) is None
