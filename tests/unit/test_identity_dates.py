"""Two digits mean a year near that of the reading, whatever the clock of this machine says."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from identity import parse
from identity.dates import DATED, date_of, full_year, six_digits


# (the year of reading, the two digits, the year they mean): GS1 General Specifications §7.12
@pytest.mark.parametrize(
    ("year", "digits", "full"),
    [
        (2026, 26, 2026),
        (2026, 76, 2076),  # 50 years ahead
        (2026, 77, 1977),  # 51 ahead is 49 back
        (2026, 99, 1999),
        (2026, 0, 2000),
        (2049, 99, 2099),
        (2050, 0, 2100),  # 50 back is 50 ahead
        (2050, 1, 2001),
        (2099, 0, 2100),
        (2099, 49, 2149),
        (2099, 50, 2050),
        (1970, 26, 2026),  # a clock without a battery
    ],
)
def test_the_century_is_the_nearest_one(year: int, digits: int, full: int) -> None:
    assert full_year(digits, year) == full


@given(st.integers(2026, 9000), st.integers(0, 99))
def test_every_year_is_in_the_window(year: int, digits: int) -> None:
    full = full_year(digits, year)
    assert full % 100 == digits
    assert year - 49 <= full <= year + 50


def test_a_label_is_read_in_the_year_of_its_reading() -> None:
    label = "010952123454321317" + "800229"
    assert parse(label, "]C1", year=2026).expiry == "1980-02-29"
    assert parse(label, "]C1", year=2030).expiry == "2080-02-29"


def test_biip_is_not_asked_for_the_century(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes by the clock of the machine; where that is wrong, so would be the expiry."""
    monkeypatch.setattr("biip.gs1_element_strings._get_century", lambda _year: 3000)
    assert parse("010952123454321317261231", "]C1").expiry == "2026-12-31"


# (AI, value, date)
@pytest.mark.parametrize(
    ("ai", "value", "date"),
    [
        ("17", "270200", "2027-02-28"),  # day 00: the last of the month
        ("17", "280200", "2028-02-29"),
        ("11", "261200", "2026-12-31"),
        ("17", "260230", None),
        ("17", "261301", None),
        ("17", "260000", None),
        ("7003", "2612312359", "2026-12-31"),
        ("7003", "2612002359", None),  # a time is of a day that is said
        ("7003", "2612312400", None),
        ("7003", "2612319999", None),
        ("4324", "2612009999", "2026-12-31"),  # any time of that day
        ("4324", "2612312360", None),
        ("4326", "261200", None),
        ("7006", "261231", "2026-12-31"),
        ("7007", "260101", "2026-01-01"),
        ("7007", "260101270131", "2026-01-01"),
        ("7007", "260101270132", None),
        ("7011", "261231", "2026-12-31"),
        ("7011", "2612310800", "2026-12-31"),
        ("8008", "26123123", "2026-12-31"),
        ("8008", "261231235959", "2026-12-31"),
        ("8008", "261231235960", None),
    ],
)
def test_dates_of_each_identifier(ai: str, value: str, date: str | None) -> None:
    assert date_of(ai, value, 2026) == date


@given(st.sampled_from(sorted(DATED)), st.text("0123456789", min_size=6, max_size=12), st.integers(0, 9999))
@example("17", "000000", 9999)
def test_no_digits_raise(ai: str, value: str, year: int) -> None:
    date_of(ai, value, year)


@given(st.dates().map(lambda day: day.isoformat()), st.integers(2026, 9900))
def test_six_digits_mean_the_date_again_or_are_refused(iso: str, year: int) -> None:
    if abs(int(iso[:4]) - year) < 49:
        assert date_of("17", six_digits(iso, year), year) == iso
    try:
        assert date_of("17", six_digits(iso, year), year) == iso
    except ValueError as problem:
        assert "six digits" in str(problem)
