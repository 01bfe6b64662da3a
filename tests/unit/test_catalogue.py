"""The catalogue: every text that is asked for exists, none is left over, and all of them can be filled in."""

import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.texts import Texts, catalogue

ROOT = Path(__file__).parents[2]
ROOMS = ("agent", "central", "service")
# t("section.key" …) in Python, templates and scripts; a computed key begins with a prefix that ends in a dot.
CALL = re.compile(r"""\bt\(\s*(?:f?"([a-z0-9_.-]+)|f?'([a-z0-9_.-]+)|`([a-z0-9_.-]+))""")
LITERAL = re.compile(r"""["'`]([a-z][a-z0-9_-]*\.[a-z0-9_.-]*)(?=["'`{$])""")


def sources() -> Iterator[tuple[Path, str]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".html", ".js"):
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8")


def test_every_text_that_is_asked_for_exists() -> None:
    keys = catalogue().flat
    missing = [
        f"{path}: {key}"
        for path, text in sources()
        for key in ("".join(groups) for groups in CALL.findall(text))
        if "." in key
        and not (key in keys or (key.endswith((".", "_")) and any(known.startswith(key) for known in keys)))
    ]
    assert missing == []


def test_no_text_is_left_over() -> None:
    used = {key for _, text in sources() for key in LITERAL.findall(text)}
    prefixes = tuple(key for key in used if key.endswith("."))
    unused = [key for key in catalogue().flat if key not in used and not key.startswith(prefixes)]
    assert unused == []


def test_every_text_can_be_filled_in() -> None:
    for key, text in catalogue().flat.items():
        values = {name: "x" for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        assert all(re.fullmatch(r"[a-z_]+", name) for name in values), key
        assert catalogue().t(key, **values)
        assert text.strip() == text, key


def test_no_markup_in_texts() -> None:
    assert [key for key, text in catalogue().flat.items() if re.search(r"<[a-z/]|&[a-z]+;", text)] == []


def test_a_missing_text_or_value_is_a_defect() -> None:
    texts = Texts({"a": {"b": {"c": "{count} left"}}})
    assert texts.t("a.b.c", count=3) == "3 left"
    with pytest.raises(KeyError, match="add it there"):
        texts.t("a.b.d")
    with pytest.raises(KeyError, match="needs the value 'count'"):
        texts.t("a.b.c")
    with pytest.raises(KeyError, match="no section"):
        texts.sections("z")
    with pytest.raises(TypeError):
        Texts({"a": {"b": 1}})


def test_pages_have_no_inline_script_or_style() -> None:
    """The content security policy would drop it silently; here it fails loudly."""
    inline = re.compile(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
    assert [str(path) for path, text in sources() if path.suffix == ".html" and inline.search(text)] == []


def test_scripts_never_parse_text_as_markup() -> None:
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [str(path) for path, text in sources() if path.suffix == ".js" and unsafe.search(text)] == []
