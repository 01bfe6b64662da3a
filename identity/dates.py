"""Dates as labels say them, in six digits.

The one idea: two digits name the one year in a window of a hundred around the year of reading, and that year comes in
as an argument. A clock that is wrong by a few years changes nothing; one that says less than `FIRST_YEAR` is not
believed.

Source: GS1 General Specifications, §7.12 (century), §3.4 and §3.8 (the dates and their AIs).
"""

import calendar
import re
from datetime import date
from typing import Final

FIRST_YEAR: Final = 2026
"""No label was read by this software before: a clock that says so, as one without a battery does, is wrong."""
# The window: from so many years back, a hundred years long.
_BACK: Final = 49

_HOUR_MINUTE: Final = r"(?:[01]\d|2[0-3])[0-5]\d"
# AI → what follows the date. In a date of the first table, day 00 is the last day of the month.
_DAY_MAY_BE_00: Final = {
    **dict.fromkeys(("11", "12", "13", "15", "16", "17"), ""),
    **dict.fromkeys(("4324", "4325"), rf"{_HOUR_MINUTE}|9999"),  # 9999: any time of that day
}
_DAY_IS_SAID: Final = {
    **dict.fromkeys(("4326", "7006"), ""),
    "7003": _HOUR_MINUTE,
    "7007": r"(?:\d{6})?",  # until; a date too
    "7011": rf"(?:{_HOUR_MINUTE})?",
    "8008": r"(?:[01]\d|2[0-3])(?:[0-5]\d){0,2}",
}
_REST: Final = {ai: re.compile(rest, re.ASCII) for ai, rest in (_DAY_MAY_BE_00 | _DAY_IS_SAID).items()}
DATED: Final = frozenset(_REST)
"""The identifiers whose values are dates, some with a time."""


def full_year(two_digits: int, year: int) -> int:
    """The year that two digits mean to who reads them in `year`: 49 years back to 50 years ahead."""
    first = max(year, FIRST_YEAR) - _BACK
    return first + (two_digits - first) % 100


def date_of(ai: str, value: str, year: int) -> str | None:
    """The ISO date of an element of `DATED`, or None: there is no such day, or no such time."""
    if _REST[ai].fullmatch(value[6:]) is None:
        return None
    if ai == "7007" and value[6:] and _iso(value[6:], year, day_may_be_00=False) is None:
        return None
    return _iso(value[:6], year, day_may_be_00=ai in _DAY_MAY_BE_00)


def six_digits(iso: str, year: int) -> str:
    """An ISO date as a label says it.

    Raises:
        ValueError: it is no date, or who reads it in `year` would take it for one a century away.
    """
    day = date.fromisoformat(iso)
    if full_year(day.year % 100, year) != day.year:
        raise ValueError(f"{iso} cannot be said in six digits in {year}: two digits would be another year")
    return f"{day:%y%m%d}"


def _iso(digits: str, year: int, *, day_may_be_00: bool) -> str | None:
    try:
        found, month, day = full_year(int(digits[:2]), year), int(digits[2:4]), int(digits[4:])
        if day == 0 and day_may_be_00:
            day = calendar.monthrange(found, month)[1]
        return date(found, month, day).isoformat()
    except ValueError:
        return None
