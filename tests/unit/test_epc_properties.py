"""EPCs for anything that can be made up: there and back gives the same, and what is hostile gives nothing."""

import re
from typing import Any

import pytest
from biip.gs1_application_identifiers import GS1ApplicationIdentifier
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from identity import Identity, check_digit, from_uri, parse, read_epc, write_epc
from identity.element_strings import element_string
from identity.epc import fields, plus
from identity.epc.bits import BitReader, BitWriter, NotAllowed
from identity.epc.data import VALUES
from identity.epc.schemes import BY_NAME, SCHEMES, Scheme
from identity.epc.text import CAGE, SET_82, escaped
from tests.unit.test_epc_examples import WITH_HOST_NAME, WITH_TAG_URI, WITHOUT_TAG_URI, words

OLDER = [scheme for scheme in SCHEMES if not scheme.data]
FIELDS = list(dict.fromkeys(field for scheme in SCHEMES for field in scheme.fields if field.parts))
EXAMPLES = [row[1] for table in (WITH_TAG_URI, WITHOUT_TAG_URI, WITH_HOST_NAME) for row in table]


def digits(least: int, most: int | None = None) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=least if most is None else most)


def characters(most: int) -> st.SearchStrategy[str]:
    return st.text(sorted(SET_82), min_size=1, max_size=most)


def below(number: int) -> st.SearchStrategy[str]:
    return st.integers(0, number - 1).map(str)


def numbers(count: int) -> st.SearchStrategy[str]:
    """So many digits, the last of which is the check digit; all zeros is nobody's."""
    bodies = digits(count - 1).filter(lambda body: body.strip("0") != "")
    return bodies.map(lambda body: body + check_digit(body))


# What each kind of field may hold -----------------------------------------------------------------------------------


@st.composite
def company(draw: st.DrawFn, field: fields.Company) -> list[str]:
    partition = draw(st.integers(0, 6))
    _, number = field.partitions[partition]
    prefix = draw(digits(12 - partition).filter(lambda text: text.strip("0") != ""))  # all zeros is nobody's
    return [prefix, *draw(parts_of(number))]


def parts_of(field: fields.Field) -> st.SearchStrategy[list[str]]:
    match field:
        case fields.Company():
            return company(field)
        case fields.Reserved():
            return st.just([])
        case fields.Integer():
            one = below(min(1 << field.bits, 10**field.digits))
        case fields.Padded():
            one = digits(field.digits)
        case fields.OneAndDigits():
            one = digits(1, field.digits)
        case fields.Text7():
            one = characters(field.most)
        case fields.Text6():
            body = st.text(sorted(field.allowed), min_size=field.least, max_size=field.most - len(field.mark))
            one = body | body.map(lambda text: field.mark + text)
        case fields.Cage():
            one = st.text(sorted(CAGE), min_size=5, max_size=6)
        case plus.Digits(checked=True):
            one = numbers(field.count)
        case plus.Digits():
            one = digits(field.count)
        case plus.Text():
            one = st.text(sorted(field.allowed), min_size=1, max_size=field.most)
        case plus.DigitsThenText():
            rest = st.text(sorted(field.allowed), max_size=field.most - 12)
            one = st.builds(str.__add__, digits(4, 12), rest)
        case plus.CountedDigits():
            one = digits(1, field.most)
        case plus.Date():
            one = st.dates().map("{:%y%m%d}".format)
        case plus.DateKind():
            one = st.sampled_from(("11", "13", "15", "16", "17", "7006", "7007"))
        case _:
            raise AssertionError(field)
    return one.map(lambda part: [part])


@st.composite
def tag_uris(draw: st.DrawFn, scheme: Scheme) -> str:
    parts = [draw(below(1 << scheme.filter_bits))] if scheme.filter_bits else []
    for field in scheme.fields:
        parts += draw(parts_of(field))
    return f"urn:epc:tag:{scheme.name}:{'.'.join(map(escaped, parts))}"


@pytest.mark.parametrize("scheme", OLDER, ids=lambda scheme: scheme.name)
@settings(max_examples=25)
@given(data=st.data())
def test_a_tag_uri_becomes_bits_and_the_same_tag_uri(scheme: Scheme, data: st.DataObject) -> None:
    uri = data.draw(tag_uris(scheme))
    epc = from_uri(uri)
    found = read_epc(epc)
    assert found.tag_uri == uri
    assert found.identity.epc == epc.hex().upper()
    assert read_epc(epc + bytes(2)).uri == found.uri, "a reader may give more words than were written"


def named(field: fields.Field) -> str:
    return type(field).__name__


@pytest.mark.parametrize("field", FIELDS, ids=named)
@settings(max_examples=20)
@given(data=st.data())
def test_a_field_reads_what_it_wrote(field: fields.Field, data: st.DataObject) -> None:
    parts = data.draw(parts_of(field))
    writer = BitWriter()
    field.write(writer, *parts)
    writer.put(1, 1)
    reader = BitReader(writer.words())
    assert list(field.read(reader)) == parts
    assert reader.take(1) == 1, "it took as many bits as it had put"


def format_of(field: fields.Field) -> tuple[str, int, int]:
    """What it may hold as biip writes it down, and the bits it has for that and needs for that."""
    match field:
        case plus.Text():
            return f"X..{field.most}", field.length_bits, field.most.bit_length()
        case plus.CountedDigits():
            return f"N..{field.most}", field.length_bits, field.most.bit_length()
        case plus.Digits():
            return f"N{field.count}", 0, 0
        case fields.Padded():
            return f"N{field.digits}", field.bits, (10**field.digits - 1).bit_length()
        case plus.Date():
            return "N6", 0, 0
        case _:
            raise AssertionError(field)


@pytest.mark.parametrize("ai", VALUES)
def test_data_behind_an_epc_may_hold_what_its_identifier_may(ai: str) -> None:
    """As biip knows it, which has it from GS1; TDS gives each as few bits as that takes."""
    format_, has, needs = format_of(VALUES[ai])
    assert GS1ApplicationIdentifier.extract(ai).format == f"N{len(ai)}+{format_}"
    assert has == needs


@pytest.mark.parametrize(
    "scheme", [scheme for scheme in SCHEMES if scheme.data], ids=lambda scheme: scheme.name
)
def test_a_tag_holds_no_more_than_a_barcode_may(scheme: Scheme) -> None:
    """As biip knows the identifiers; of what the older schemes hold, their bits are the bound."""
    holds = [getattr(field, "count", None) or getattr(field, "most", None) for field in scheme.fields]
    formats = [GS1ApplicationIdentifier.extract(ai).format for ai in scheme.key.ais if ai]
    first, *rest = [int(size) for each in formats for size in re.findall(r"\d+", each.partition("+")[2])]
    assert [size for size in holds if size] == [first - len(scheme.key.filled), *rest]


HOSTILE = st.text(max_size=40) | st.text("0123456789AZa/-#.$\0٣", max_size=40)


@pytest.mark.parametrize("field", FIELDS, ids=named)
@settings(max_examples=25)
@given(data=st.data())
def test_a_field_refuses_what_it_cannot_hold(field: fields.Field, data: st.DataObject) -> None:
    parts = [data.draw(HOSTILE) for _ in range(field.parts)]
    writer = BitWriter()
    try:
        field.write(writer, *parts)
    except NotAllowed:
        return
    assert list(field.read(BitReader(writer.words()))) == parts


# Things -------------------------------------------------------------------------------------------------------------


def things(serials: st.SearchStrategy[str]) -> dict[str, st.SearchStrategy[Identity]]:
    """By key."""

    def of(kind: Any, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[Identity]:
        return st.builds(Identity, st.just(kind), st.just(""), **members)

    extensions = st.none() | serials.filter(lambda text: text != "0")
    return {
        "sgtin": of("gtin", gtin=numbers(14), serial=serials),
        "sscc": of("sscc", sscc=numbers(18)),
        "sgln": of("location", gln=numbers(13), gln_extension=extensions),
        "grai": of("asset", grai=numbers(13), serial=serials),
        "giai": of("asset", giai=st.builds(str.__add__, digits(12), serials)),
        "gdti": of("gdti", gdti=numbers(13), serial=serials),
    }


# As long as each key's serial number may be in all of its schemes; short schemes take numbers only.
ANY = things(characters(16))
NUMERIC = things(below(1 << 38))
NAMED = [scheme for scheme in SCHEMES if scheme.key.members and not scheme.name.endswith("++")]


@pytest.mark.parametrize("scheme", NAMED, ids=lambda scheme: scheme.name)
@settings(max_examples=25)
@given(data=st.data(), filter_value=st.integers(0, 7), company_digits=st.integers(6, 12))
def test_a_tag_and_a_barcode_of_one_thing_name_the_same(
    scheme: Scheme, data: st.DataObject, filter_value: int, company_digits: int
) -> None:
    numeric = scheme.name.endswith(("-96", "-113"))
    thing = data.draw((NUMERIC if numeric else ANY)[scheme.key.name])
    if scheme.name == "giai-96":
        # Its number loses leading zeros.
        assume(thing.giai is not None and thing.giai[company_digits] != "0")
        assume(int(thing.giai[company_digits:]) < 1 << 42)
    if scheme.name == "dsgtin+":
        thing = parse(element_string(thing) + "\x1d17270228", "]C1")
    epc = write_epc(
        thing,
        scheme=scheme.name,
        company_digits=None if scheme.data else company_digits,
        filter_value=filter_value,
    )
    found = read_epc(epc)
    assert found.filter == filter_value
    assert found.identity.names == thing.names == parse(element_string(thing), "]C1").names
    assert found.identity.expiry == thing.expiry
    if found.tag_uri is None:
        assert found.uri is not None and parse(found.uri, "]Q1").names == thing.names
    else:
        assert from_uri(found.tag_uri) == epc


# What is hostile ----------------------------------------------------------------------------------------------------

HEADERS = st.sampled_from([scheme.header for scheme in SCHEMES])


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    """An example with a few bits turned over, cut off, or with more behind it."""
    epc = bytearray(words(draw(st.sampled_from(EXAMPLES))))
    for bit in draw(st.lists(st.integers(8, len(epc) * 8 - 1), max_size=3)):
        epc[bit // 8] ^= 0x80 >> bit % 8
    return bytes(epc[: draw(st.integers(1, len(epc)))]) + draw(st.binary(max_size=4))


@given(
    st.binary(max_size=80) | st.builds(lambda header, rest: bytes([header]) + rest, HEADERS, st.binary()),
    st.none() | st.integers(0, 0xFFFF),
)
def test_whatever_a_tag_holds_never_raises(epc: bytes, pc: int | None) -> None:
    found = read_epc(epc, pc)
    assert found.identity.text == epc.hex().upper()
    assert found.uri is not None or (found.identity.kind == "plain" and found.tag_uri is None)


@given(nearly_right())
def test_what_is_read_is_what_would_have_been_written(epc: bytes) -> None:
    """Two different EPCs never say the same, so that none can be made to look like another."""
    found = read_epc(epc)
    if found.tag_uri is not None:
        written = from_uri(found.tag_uri)
        longest = max(len(epc), len(written))
        assert written.ljust(longest, b"\0") == epc.ljust(longest, b"\0")
    elif found.uri is not None:
        assert parse(found.uri, "]Q1").names == found.identity.names or found.identity.kind == "plain"
    else:
        assert found.identity.kind == "plain" and found.identity.warnings


@given(st.sampled_from(sorted(BY_NAME)), st.text())
def test_a_hostile_tag_uri_is_refused_or_right(name: str, rest: str) -> None:
    for uri in (rest, f"urn:epc:tag:{rest}", f"urn:epc:tag:{name}:{rest}"):
        with pytest.raises(NotAllowed):
            from_uri(uri)


@given(st.sampled_from(NAMED), st.text(min_size=1), st.text(), st.integers(-1, 9), st.integers())
def test_a_thing_that_no_barcode_names_is_not_written(
    scheme: Scheme, hostile: str, number: str, filter_value: int, company_digits: int
) -> None:
    kind = scheme.key.kind
    assume(scheme.name != "giai+" or not number.isascii())  # a GIAI may be any of its characters
    thing = Identity(kind, "", **dict.fromkeys(scheme.key.members, number), expiry=hostile)
    with pytest.raises(ValueError, match=r"no [A-Z]"):
        write_epc(thing, scheme=scheme.name, company_digits=company_digits, filter_value=filter_value)
