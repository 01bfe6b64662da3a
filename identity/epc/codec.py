"""From the bytes of an EPC to what they say, and back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from identity.dates import FIRST_YEAR, six_digits
from identity.elements import Element, NotProved, identity_of
from identity.epc.bits import BitReader, BitWriter, NotAllowed
from identity.epc.data import read_data
from identity.epc.fields import LEAST_COMPANY_DIGITS, MOST_COMPANY_DIGITS, Integer
from identity.epc.plus import DateKind
from identity.epc.schemes import BY_HEADER, BY_NAME, Scheme
from identity.epc.text import escaped, unescaped
from identity.values import Identity, plain

# Gen2 §6.3.2.1.2.2: this bit of the protocol control word says that the tag is numbered by ISO 15961, not by GS1.
_NUMBERED_BY_ISO = 0x0100
# Its five length bits count words of 16 bits (Gen2 §6.3.2.1.2.2, TDS §14.6.1.3).
MOST_BYTES = 31 * 2
_TAG_URI = "urn:epc:tag:"


@dataclass(frozen=True, slots=True)
class Epc:
    """What an EPC says."""

    uri: str | None
    """The pure identity URI; for a scheme of TDS 2.0, which has none, the GS1 Digital Link URI that says the same.
    None where the header is not known or what follows it is not allowed."""
    tag_uri: str | None
    """Says besides which scheme and filter the tag has. None where `uri` is, and for schemes of TDS 2.0."""
    filter: int | None
    """What the tag is on, by its maker: 1 an item in a shop, 2 a full case …; no part of the identity."""
    identity: Identity


def read_epc(epc: bytes, pc: int | None = None, *, year: int = FIRST_YEAR) -> Epc:
    """What these bytes of a tag's EPC memory say; `pc` is its protocol control word, where the reader tells it.

    Never raises: what proves nothing is `plain`, with its hex as text, and a warning where one helps. Dates on tags
    have two digits for the year, which mean one near `year`, that of the reading.
    """
    text = epc.hex().upper()
    if not epc or (pc is not None and pc & _NUMBERED_BY_ISO):
        return _plain(text)
    scheme = BY_HEADER.get(epc[0])
    if scheme is None:
        return _plain(text)
    if len(epc) > MOST_BYTES:
        return _plain(
            text, f"no valid {scheme.name.upper()}: {len(epc)} bytes are more than a tag has for an EPC"
        )
    try:
        return _read(scheme, BitReader(epc), text, year)
    except NotAllowed as problem:
        return _plain(text, f"no valid {scheme.name.upper()}: {problem}")


def write_epc(
    identity: Identity,
    *,
    scheme: str,
    company_digits: int | None = None,
    filter_value: int = 0,
    year: int = FIRST_YEAR,
) -> bytes:
    """The EPC of a thing, in words of 16 bits as a tag takes them.

    `scheme` is named as in `urn:epc:tag:`, or `sgtin+` and the like, whose EPCs need no `company_digits`: how many
    digits the GS1 company prefix has, 6 to 12, which is 8 for a GTIN-8 (TDS §7.3.2). Raises `ValueError`, which says
    what does not fit.
    """
    row = _row(scheme)
    try:
        values = row.key.values(identity)
        if row.data:
            parts = _date(row, identity, year) + values
        elif company_digits is None or not LEAST_COMPANY_DIGITS <= company_digits <= MOST_COMPANY_DIGITS:
            raise NotAllowed(f"it takes company_digits from 6 to 12, not {company_digits}")
        else:
            parts = row.key.parted(values, company_digits)
        return _write(row, str(filter_value), parts)
    except ValueError as problem:
        raise NotAllowed(f"no {row.name.upper()}: {problem}") from None


def from_uri(tag_uri: str) -> bytes:
    """The EPC of a tag URI, in words of 16 bits. Raises `ValueError`, which says what is wrong with it."""
    if not tag_uri.startswith(_TAG_URI):
        raise NotAllowed(f"{tag_uri[:60]!r} is no tag URI: it does not begin with {_TAG_URI}")
    name, _, rest = tag_uri.removeprefix(_TAG_URI).partition(":")
    row = _row(name)
    try:
        filtered = 1 if row.filter_bits else 0
        # The last part may have dots of its own.
        parts = tuple(unescaped(part) for part in rest.split(".", row.parts + filtered - 1))
        if row.data or len(parts) != row.parts + filtered:
            raise NotAllowed(f"{tag_uri[:60]!r} has not the parts of one")
        if row.key.ais:
            row.key.joined(*parts[filtered:])
        return _write(row, parts[0], parts[filtered:])
    except ValueError as problem:
        raise NotAllowed(f"no {row.name.upper()}: {problem}") from None


def identity_of_tag(
    epc: bytes | None, pc: int | None, text: str | None, *, year: int = FIRST_YEAR
) -> Identity:
    """What a tag or card names. One without an EPC is known by what is printed on it, which is never a GTIN."""
    return read_epc(epc, pc, year=year).identity if epc is not None else plain(text or "")


def _plain(text: str, *warnings: str) -> Epc:
    return Epc(None, None, None, Identity("plain", text, epc=text or None, warnings=warnings))


def _row(name: str) -> Scheme:
    row = BY_NAME.get(name.lower())
    if row is None:
        raise NotAllowed(f"there is no scheme {name[:40]!r}; there are {', '.join(BY_NAME)}")
    return row


# Reading ------------------------------------------------------------------------------------------------------------


def _read(scheme: Scheme, bits: BitReader, text: str, year: int) -> Epc:
    bits.take(8)
    followed = scheme.data and bits.take(1) == 1
    filter_value = bits.take(scheme.filter_bits) if scheme.filter_bits else None
    parts = tuple(part for field in scheme.fields for part in field.read(bits))
    if not followed and not bits.rest_is_zero():
        raise NotAllowed(f"the bits behind its first {bits.bits - bits.left} are not zeros")
    key = scheme.key
    if scheme.data:
        date, values = parts[: -len(key.ais)], parts[-len(key.ais) :]
        said = [Element(*date)] if date else []
        identity = _identity(key.elements(values), said, bits if followed else None, text, year)
        return Epc(key.link(values), None, filter_value, identity)
    # Without application identifiers it is no number of GS1's.
    own = key.elements(key.joined(*parts)) if key.ais else []
    body = ".".join(escaped(part) for part in parts)
    tag_body = body if filter_value is None else f"{filter_value}.{body}"
    return Epc(
        f"urn:epc:id:{key.name}:{body}",
        f"{_TAG_URI}{scheme.name}:{tag_body}",
        filter_value,
        _identity(own, [], None, text, year),
    )


def _identity(
    own: list[Element], said: list[Element], data: BitReader | None, text: str, year: int
) -> Identity:
    """What an EPC's own elements name, with what is said besides in front and behind: a lot, a date, contents.

    What is said besides never changes what is named; where it would, or cannot be read, a warning says so.
    """
    named = replace(identity_of(text, own, year), epc=text)
    problem = None
    if data is not None:
        behind, problem = read_data(data)
        said = said + behind
    if not said and problem is None:
        return named
    try:
        whole = replace(identity_of(text, own + said, year), epc=text)
    except NotProved as contradiction:
        whole, problem = named, str(contradiction)
    if whole.names != named.names:
        whole, problem = named, "it names another thing"
    if problem is None:
        return whole
    return replace(whole, warnings=(*whole.warnings, f"data behind its EPC was left out: {problem}"))


# Writing ------------------------------------------------------------------------------------------------------------


def _write(scheme: Scheme, filtered: str, parts: Sequence[str]) -> bytes:
    bits = BitWriter()
    bits.put(scheme.header, 8)
    if scheme.data:
        bits.put(0, 1)
    if scheme.filter_bits:
        Integer(scheme.filter_bits, "filter value").write(bits, filtered)
    rest = list(parts)
    for field in scheme.fields:
        field.write(bits, *rest[: field.parts])
        del rest[: field.parts]
    return bits.words()


def _date(scheme: Scheme, identity: Identity, year: int) -> tuple[str, ...]:
    if not isinstance(scheme.fields[0], DateKind):
        return ()
    if identity.expiry is None:
        raise NotAllowed("it takes an expiry")
    return ("17", six_digits(identity.expiry, year))
