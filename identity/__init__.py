"""What a code means: pure values, no I/O.

The one idea: a code is only what its check digit and its symbology prove it to be. `parse` never raises and never
guesses; whatever is not proved is `plain`, with a warning that says why.
"""

from identity.check import check_digit, gtin_of, sscc_of
from identity.element_strings import element_string
from identity.epc import Epc, from_uri, identity_of_tag, read_epc, write_epc
from identity.parse import GS1_SYMBOLOGIES, parse
from identity.values import Identity, Kind

__all__ = [
    "GS1_SYMBOLOGIES",
    "Epc",
    "Identity",
    "Kind",
    "check_digit",
    "element_string",
    "from_uri",
    "gtin_of",
    "identity_of_tag",
    "parse",
    "read_epc",
    "sscc_of",
    "write_epc",
]
