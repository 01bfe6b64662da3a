"""docs/devices.md: every driver, every port and every option of them stand there, and its examples can be pasted."""

import re
import tomllib

import pytest

from devices.finding.attached import VENDORS
from devices.options import Option, choice, number
from devices.ports.url import EXAMPLES, OPTIONS
from devices.registry import DRIVERS, set_up
from docs.generator import devices
from docs.generator.__main__ import DOCS
from docs.generator.examples import blocks

PAGE = (DOCS / "devices.md").read_text(encoding="utf-8")
TABLES = [tomllib.loads(block)["devices"][0] for block in blocks(PAGE, "toml")["device"]]


def section(driver: str) -> str:
    match = re.search(rf"^### {driver}\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
    assert match is not None, f"docs/devices.md has no section about {driver}"
    return match[1]


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_driver_has_a_section_with_its_options(driver: str):
    text = section(driver)
    assert f"[`{driver}`](#{driver})" in PAGE
    assert f"<!-- options of {driver} -->" in text
    for option in devices.options(driver) or ():
        assert f"| `{option.name}` |" in text


def test_the_contract_names_the_drivers_there_are():
    text = (DOCS / "contract.md").read_text(encoding="utf-8")
    named = re.search(r"^Driver names: (.*?)\.", text, re.DOTALL | re.MULTILINE)
    assert named is not None
    assert set(re.findall(r"`([a-z0-9-]+)`", named[1])) == set(DRIVERS)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_of_port_is_there_with_its_options(kind: str):
    assert f"`{kind}://" in PAGE
    assert not OPTIONS[kind] or f"port {kind}" in devices.named(PAGE)


@pytest.mark.parametrize("table", TABLES, ids=[table["driver"] for table in TABLES])
def test_an_example_can_be_pasted(table: dict[str, str]):
    assert set_up(table["name"], table["driver"], table["port"])
    assert table["driver"] in DRIVERS


def test_every_driver_that_there_is_has_an_example():
    assert {table["driver"] for table in TABLES} == set(DRIVERS)


def test_tables_say_what_an_option_may_be():
    page = "<!-- options of m100 -->\nold\n<!-- end -->\n<!-- options of nothing -->\n<!-- end -->"
    filled = devices.fill(page)
    assert "| `framing` | bb, aa, auto | auto | " in filled and "old" not in filled
    assert "Not in this release.\n<!-- end -->" in filled
    assert devices.fill(filled) == filled
    table = devices._table(
        (
            Option("a|b", choice("x", "y"), "x", "one | two"),
            Option("n", number(1, 9), (1, 2), "n"),
            Option("free", str, True, ""),
        )
    )
    assert "| x, y | x | one \\| two |" in table
    assert "| whole number from 1 to 9 | 1,2 | n |" in table
    assert "| `free` |  | yes |  |" in table
    assert devices._table(()) == "It has no options of its own.\n"


def test_udev_knows_the_makers_that_we_know():
    rules = (DOCS.parent / "systemd" / "60-tallyman.rules").read_text()
    for vendor, maker in VENDORS.items():
        if maker.driver is not None:
            assert f'ATTRS{{idVendor}}=="{vendor:04x}"' in rules, maker.name


def test_links_on_the_page_lead_somewhere():
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
