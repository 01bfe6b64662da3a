"""mutmut, but for one kind of change: the letters of a text are not made small or capital.

In SQL that changes nothing, and elsewhere whoever notices another text notices this one too (mutmut makes both).
"""

from collections.abc import Iterable

import libcst
from mutmut.__main__ import cli
from mutmut.mutation.mutators import mutation_operators, operator_string


def another_text(node: libcst.BaseString) -> Iterable[libcst.BaseString]:
    """mutmut's changes of a text, without those of letters alone."""
    code = libcst.Module([]).code_for_node
    for changed in operator_string(node):
        if code(changed).lower() != code(node).lower():
            yield changed


if __name__ == "__main__":
    place = [operator for _, operator in mutation_operators].index(operator_string)
    mutation_operators[place] = (libcst.BaseString, another_text)  # type: ignore[index]
    cli()
