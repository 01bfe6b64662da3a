"""Guesses what a wrong file meant, to find the mistakes behind its mistakes.

The one idea: checks that look at several keys at once run only over a file whose keys are right. So the likely
repair of each mistake is made in a copy (the nearest name, the nearest choice, a placeholder), the copy is
checked again, and what turns up besides is reported too. The copy is never used for anything else. Where a
repair would itself cause complaints, these are kept quiet: a person must not be told of our inventions.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.mistakes import Location, Mistakes, Report

# Each round repairs at least one thing; a file that needs more is looked at again when these are corrected.
ROUNDS_MAX: Final = 8
# What stands in for a value that is missing or beyond guessing: the first that the model takes.
_PLACEHOLDERS: Final[tuple[Any, ...]] = ("x", 1, True, "127.0.0.1:0", "mqtt://x", "x://x", [], {})
_NUMBERS: Final = ("int_", "float_", "bool_", "greater_than", "less_than")


def report_further(report: Report, errors: Sequence[ErrorDetails], validate: Callable[[Any], object]) -> None:
    """Adds to the report what is found once its mistakes are mended, as far as they can be."""
    mender = _Mender(report, validate)
    for _ in range(ROUNDS_MAX):
        if not mender.repair(errors):
            return
        try:
            validate(mender.data)
        except ValidationError as found:
            errors = found.errors(include_url=False)
        else:
            return
        report.data = mender.data
        report.add(errors, quiet=mender.quiet)


class _Mender:
    """The copy, and where it no longer says what the file says."""

    def __init__(self, report: Report, validate: Callable[[Any], object]) -> None:
        self.report = report
        self.validate = validate
        self.data = copy.deepcopy(report.data)
        self.quiet: set[Location] = set()

    def repair(self, errors: Sequence[ErrorDetails]) -> bool:
        """Repairs what it can; unknown keys first, because one may be the key that another misses."""
        ranked = sorted(errors, key=lambda error: error["type"] != "extra_forbidden")
        repaired = [self._repair_one(error) for error in ranked]
        return any(repaired)

    def _repair_one(self, error: ErrorDetails) -> bool:
        loc, kind = self.report.key_path(error["loc"]), error["type"]
        choice = self.report.near_choice(error)
        in_array = any(isinstance(step, int) for step in loc)
        if not loc:
            repaired = False
        elif kind == "extra_forbidden":
            repaired = self._rename_or_drop(loc)
        elif choice is not None:
            repaired = self._set(loc, choice)
        elif kind.startswith(_NUMBERS) and not isinstance(loc[-1], int):
            repaired = self._drop(loc)
        elif in_array:
            repaired = False  # elements refer to each other by name: an invented one would cause complaints
        elif isinstance(cause := error.get("ctx", {}).get("error"), Mistakes):
            dropped = [self._drop((*loc, *path)) for path, _ in cause.found]
            repaired = any(dropped)
        else:
            repaired = self._invent(loc)
        return repaired

    def _rename_or_drop(self, loc: Location) -> bool:
        table = self._table(loc)
        if loc[-1] not in table:
            return False
        value = table.pop(loc[-1])
        near = self.report.near_name(loc)
        if near is not None and near not in table:
            table[near] = value
            self.report.renamed(loc, (*loc[:-1], near))
        return True

    def _set(self, loc: Location, value: object) -> bool:
        self._table(loc)[loc[-1]] = value
        self.quiet.add(loc)
        return True

    def _drop(self, loc: Location) -> bool:
        self.quiet.add(loc)
        return self._table(loc).pop(loc[-1], None) is not None

    def _invent(self, loc: Location) -> bool:
        """Nothing at all, else a placeholder, and silence about the table it stands in."""
        table = self._table(loc)
        if loc[-1] in table and self._takes(loc):
            return False  # another repair has helped already
        before = {loc[-1]: table.pop(loc[-1])} if loc[-1] in table else {}
        for placeholder in _PLACEHOLDERS:
            if self._takes(loc):
                break
            table[loc[-1]] = copy.copy(placeholder)
        if not self._takes(loc):
            table.pop(loc[-1], None)
            table.update(before)
            return False
        self.quiet.add(loc[:-1] or loc)
        return True

    def _takes(self, loc: Location) -> bool:
        """Whether the model has nothing against what is there, except that more is missing inside."""
        try:
            self.validate(self.data)
        except ValidationError as found:
            return not any(
                error["loc"][: len(loc)] == loc and (error["loc"] == loc or error["type"] != "missing")
                for error in found.errors(include_url=False)
            )
        return True

    def _table(self, loc: Location) -> Any:
        here: Any = self.data
        for step in loc[:-1]:
            here = here[step]
        return here
