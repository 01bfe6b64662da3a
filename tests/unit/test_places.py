"""The places of agent.toml: what antennas hear, with the numbers of each."""

from pathlib import Path

import pytest

from agent import config
from agent.places import places
from agent.smoothing import Parameters
from service.config import ConfigError

HEAD = """\
[agent]
id = "a"
site = "s"
data_dir = "d"
[mqtt]
url = "mqtt://h"
[http]
listen = ":0"
[[devices]]
name = "portal"
driver = "llrp"
port = "tcp://192.0.2.1:5084"
[[devices]]
name = "hand"
driver = "m100"
port = "serial:///dev/ttyUSB0"
[[devices]]
name = "other"
driver = "a0"
port = "serial:///dev/ttyUSB2"
[[devices]]
name = "badges"
driver = "rdm6300"
port = "serial:///dev/ttyUSB3"
[[devices]]
name = "scanner"
driver = "text-line"
port = "serial:///dev/ttyUSB1"
[[stations]]
name = "gate"
devices = ["portal", "other"]
workflow = "gate"
location = "L"
[[stations]]
name = "dock"
devices = ["hand", "scanner", "badges"]
workflow = "receive"
location = "L"
"""


def load(folder: Path, text: str) -> config.AgentConfig:
    path = folder / "agent.toml"
    path.write_text(HEAD + text)
    return config.load(path)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(folder, text)
    return [f"{mistake.key}: {mistake.what}" for mistake in error.value.mistakes]


def test_without_places_each_reader_of_tags_is_one(tmp_path: Path):
    found = places(load(tmp_path, ""))
    assert [(place.name, place.station, place.antennas, place.side) for place in found] == [
        ("portal", "gate", (("portal", None),), None),
        ("hand", "dock", (("hand", None),), None),
        ("other", "gate", (("other", None),), None),
    ]
    assert found[0].parameters == Parameters()


def test_a_gate_has_two_sides_and_numbers_of_its_own(tmp_path: Path):
    found = places(
        load(
            tmp_path,
            "[smoothing]\nbelieve_reads = 3\nfloor_dbm = -70\n"
            '[[places]]\nname = "yard"\ndevices = ["portal"]\nantennas = [1, 2]\nside = "outside"\nfloor_dbm = -60\n'
            '[[places]]\nname = "hall"\ndevices = ["portal", "other"]\nantennas = [3]\nside = "inside"\n'
            '[[places]]\nname = "shelf"\ndevices = ["portal"]\nstation = "dock"\n',
        )
    )
    assert [(place.name, place.station, place.antennas, place.side) for place in found] == [
        ("yard", "gate", (("portal", 1), ("portal", 2)), "outside"),
        ("hall", "gate", (("portal", 3), ("other", 3)), "inside"),
        ("shelf", "dock", (("portal", None),), None),
        ("hand", "dock", (("hand", None),), None),
        ("other", "gate", (("other", None),), None),
    ]
    numbers = [(place.parameters.believe_reads, place.parameters.floor_dbm) for place in found]
    assert numbers == [(3, -60), (3, -70), (3, -70), (3, -70), (3, -70)]


def test_all_mistakes_are_told_at_once(tmp_path: Path):
    text = (
        "[smoothing]\nbelieve_reads = 0\nfloor = -60\n"
        '[[places]]\nname = "a"\ndevices = ["portl"]\nstation = "gat"\n'
        '[[places]]\nname = "a"\ndevices = ["scanner"]\nside = "up"\n'
        '[[places]]\nname = "b"\ndevices = ["portal"]\nantennas = [1]\n'
        '[[places]]\nname = "c"\ndevices = ["portal"]\nantennas = [0, 1]\n'
        '[[places]]\nname = "d"\ndevices = ["hand"]\n'
        '[[places]]\nname = "e"\ndevices = ["hand"]\nmove_margin_db = "much"\n'
    )
    found = "\n".join(mistakes(tmp_path, text))
    for expected in (
        "[smoothing] believe_reads",
        "[smoothing] floor: unknown key",
        "[[places]] number 1 devices[1]: there is no device 'portl' in [[devices]]; there are portal, hand, ",
        "[[places]] number 1 station: there is no station 'gat' in [[stations]]; there are gate, dock",
        "[[places]] number 2 name: 'a' is used twice",
        "[[places]] number 2 devices[1]: device 'scanner' reads no tags",
        "[[places]] number 2 side",
        "device 'portal', antenna 1, hears place 'b' already",
        "[[places]] number 4 antennas[1]",
        "device 'hand', without antennas, hears place 'd' already",
        "[[places]] number 6 move_margin_db",
    ):
        assert expected in found, found


def test_what_would_silently_do_nothing_or_the_wrong_thing_is_a_mistake(tmp_path: Path):
    text = (
        '[[places]]\nname = "a"\ndevices = ["badges"]\n'
        '[[places]]\nname = "b"\ndevices = ["hand"]\nantennas = [1]\nside = "inside"\n'
        '[[places]]\nname = "portal"\ndevices = ["portal"]\nantennas = [1]\nside = "outside"\n'
        '[[places]]\nname = "c"\ndevices = ["other", "hand"]\n'
        '[[places]]\nname = "d"\ndevices = [["x"], 3]\nantennas = [[1], "2"]\nstation = 5\nside = []\n'
    )
    found = "\n".join(mistakes(tmp_path, text))
    for expected in (
        "[[places]] number 1 devices[1]: device 'badges' reads no tags with an EPC",
        "[[places]] number 2 devices[1]: device 'hand' does not tell which antenna heard a tag: leave antennas out",
        "[[places]] number 2 side: station 'dock' is no gate, and has no sides; leave side out",
        "[[places]] number 3 name: 'portal' is what device 'portal' hears elsewhere; give the place another name",
        "[[places]] number 3 side: no place of station 'gate' is inside: nothing would ever come in",
        "[[places]] number 4 station: stations gate and dock use its devices; say whose the place is",
    ):
        assert expected in found, found


def test_a_whole_reader_may_have_numbers_of_its_own_under_its_own_name(tmp_path: Path):
    text = '[[places]]\nname = "portal"\ndevices = ["portal"]\nside = "inside"\nfloor_dbm = -60\n'
    found = places(load(tmp_path, text))
    assert [(place.name, place.parameters.floor_dbm) for place in found] == [
        ("portal", -60), ("hand", -120), ("other", -120),
    ]  # fmt: skip


def test_every_number_has_a_unit_or_counts_something():
    units = ("_reads", "_ms", "_s", "_db", "_dbm", "_gaps", "_stays", "readings")
    assert [name for name in Parameters.model_fields if not name.endswith(units)] == []
    assert all(field.description for field in Parameters.model_fields.values())


def test_the_documentation_names_every_number_with_its_default():
    text = (Path(__file__).parents[2] / "docs/contract.md").read_text()
    for name, field in Parameters.model_fields.items():
        assert f"| `[smoothing] {name}` | {field.default:g} | {field.description} |" in text, name
