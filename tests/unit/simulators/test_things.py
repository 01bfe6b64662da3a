"""Scripts, and things that are made from a seed."""

from itertools import islice

import pytest

from simulators.hardware.device import Thing
from simulators.hardware.things import Unreadable, as_json, at_rate, make, read_script
from simulators.symbols import check_digit


def test_a_script_is_json_lines() -> None:
    script = """
# a comment, and an empty line

{"code": "0109521234543213\\u001d10AB", "aim": "]d2"}
{"code": "x", "after_s": 0.5}
"""
    first, second = read_script(script.split("\n"), "s", "code")
    assert first.thing == Thing(code="0109521234543213\x1d10AB", aim="]d2")
    assert first.after_s == 0
    assert second == (Thing(code="x"), 0.5)


def test_tags_and_cards_are_read_too() -> None:
    line = '{"epc": "30751feb705c5904e3d50d70", "antenna": 2, "rssi_dbm": -61, "tid": "E280"}'
    [tag] = read_script([line], "s", "epc")
    assert tag.thing == Thing(epc="30751FEB705C5904E3D50D70", antenna=2, rssi_dbm=-61, tid="E280")
    assert tag.thing.pc == 0x3000
    [card] = read_script(['{"card": "67003b51c6"}'], "s", "card")
    assert card.thing.card == "67003B51C6"
    assert as_json(tag.thing) == {
        "epc": "30751FEB705C5904E3D50D70",
        "tid": "E280",
        "antenna": 2,
        "rssi_dbm": -61,
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no JSON: Expecting property name enclosed in double quotes at character 2"),
        ("[1]", 'a line is an object such as {"code": "…"}'),
        ('{"kode": "1"}', "no member 'kode'; did you mean code?"),
        ('{"zzz": "1"}', "no member 'zzz'; there is: code, aim,"),
        ('{"aim": "]C1"}', "code is missing: that is what this device reads"),
        ('{"code": 5}', "code must be a text that is not empty, not 5"),
        ('{"code": ""}', "code must be a text"),
        ('{"code": "1", "aim": "C1"}', "aim must be an AIM id such as ]C1"),
        ('{"code": "1", "epc": "30751F"}', "epc must be hex in whole words"),
        ('{"code": "1", "epc": "' + "3000" * 32 + '"}', "epc has 64 bytes; there are at most 62"),
        ('{"code": "1", "card": "1"}', "card must be ten hex digits"),
        ('{"code": "1", "antenna": 0}', "antenna must be a whole number from 1 to 64, not 0"),
        ('{"code": "1", "antenna": true}', "antenna must be a whole number"),
        ('{"code": "1", "rssi_dbm": 5}', "rssi_dbm must be a whole number from -127 to 0, not 5"),
        ('{"code": "1", "after_s": -1}', "after_s must be seconds from 0 to 3600, not -1"),
        ('{"code": "1", "after_s": "1"}', "after_s must be seconds"),
    ],
)
def test_a_line_that_is_none_is_told_with_its_place(line: str, problem: str) -> None:
    with pytest.raises(Unreadable) as told:
        list(read_script(['{"code": "1"}', line], "goods.jsonl", "code"))
    assert str(told.value).startswith("goods.jsonl:2: ")
    assert problem in str(told.value)


def test_codes_from_a_seed_have_right_check_digits() -> None:
    seen = set()
    for thing in islice(make("code", 1), 300):
        assert thing.code is not None
        match thing.aim:
            case "]E0":
                number = thing.code
                assert len(number) == 13
            case "]C1":
                assert thing.code.startswith("00")
                number = thing.code[2:]
                assert len(number) == 18
            case "]d2":
                number = thing.code[2:16]
                fixed, _, last = thing.code.partition("\x1d")
                assert fixed[:2] == "01"
                assert fixed[16:18] == "17"
                assert fixed[24:26] == "10"
                assert last[:2] == "21"
            case other:
                pytest.fail(f"{other}")
        assert check_digit(number[:-1]) == number[-1]
        seen.add(thing.aim)
    assert seen == {"]E0", "]C1", "]d2"}


def test_tags_from_a_seed_are_sgtins_and_cards_have_ten_digits() -> None:
    tags = list(islice(make("epc", 1), 100))
    assert len(set(tags)) == 100
    for tag in tags:
        value = int(tag.epc or "", 16)
        assert len(tag.epc_bytes) == 12
        # header 30, filter 1, partition 5 (7 digits of company prefix)
        assert (value >> 88, value >> 85 & 7, value >> 82 & 7, value >> 58 & 0xFFFFFF) == (
            0x30,
            1,
            5,
            9521234,
        )
    for card in islice(make("card", 1), 100):
        assert len(bytes.fromhex(card.card or "")) == 5


def test_the_same_seed_makes_the_same_things() -> None:
    assert list(islice(make("code", 4), 50)) == list(islice(make("code", 4), 50))
    assert list(islice(make("code", 4), 50)) != list(islice(make("code", 5), 50))
    items = list(at_rate(make("epc", 1), 4, 3))
    assert [item.after_s for item in items] == [0.25] * 3
