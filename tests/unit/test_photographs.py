"""How a reading of a photograph is judged."""

from pathlib import Path

import pytest

from benchmarks.photographs import Photograph, photographs


@pytest.mark.parametrize(
    ("stated", "content", "shown"),
    [
        (b"4006381333931", b"4006381333931", True),
        (b"4006381333931", b"4006381333932", False),
        (b"036000291452", b"0036000291452", True),  # UPC-A is EAN-13
        (b"036000291452", b"36000291452", False),
        (b"(01)09501101530003(10)A1", b"010950110153000310A1", True),
        (b"(10)A1(21)B2", b"10A1\x1d21B2", True),
        (b"(10)A1(21)B2", b"10A121B3", False),
        (b"(hello", b"(hello", True),
        ("Größe".encode(), "Größe".encode("latin-1"), True),
        (b"\x21\x82\x9f", b"\x21\x82\x9f", True),
        (b"", b"0", False),
    ],
)
def test_a_reading_is_judged_by_what_it_says(stated: bytes, content: bytes, shown: bool) -> None:
    assert Photograph(Path("ean-13/1.png"), stated).shows(content) is shown


def test_a_books_second_code_is_neither_right_nor_wrong() -> None:
    photograph = Photograph(Path("ean-13/1.png"), b"9784872348880")
    assert photograph.shows_too(b"1920081045006") and not photograph.shows(b"1920081045006")
    assert not photograph.shows_too(b"1920081045007")
    assert not Photograph(Path("ean-13/1.png"), b"4006381333931").shows_too(b"1920081045006")


def test_photographs_are_found_with_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "qr").mkdir()
    for name in ("b.png", "b.bin", "a.png", "a.txt", "unsaid.png"):
        (tmp_path / "qr" / name).write_bytes(name.encode())
    assert [(each.name, each.stated) for each in photographs(tmp_path)] == [
        ("qr/a", b"a.txt"),
        ("qr/b", b"b.bin"),
    ]
    with pytest.raises(ValueError, match="there are no photographs"):
        list(photographs(tmp_path / "qr"))
