"""EPCs: what a tag says is what its barcode says.

The one idea: the first byte is a header, which says the scheme, and schemes are rows of a table (`schemes`): which
key an EPC names (`keys`), and in which fields its bits say it (`fields`, and `plus` for those of TDS 2.0). A header
that is not in the table, and bits that its scheme does not allow, keep their hex and prove nothing.
"""

from identity.epc.codec import Epc, from_uri, identity_of_tag, read_epc, write_epc

__all__ = ["Epc", "from_uri", "identity_of_tag", "read_epc", "write_epc"]
