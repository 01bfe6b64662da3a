"""The standard's own examples: one of every scheme, as bits, as URIs and as the element string of its barcode.

Source: GS1 EPC Tag Data Standard (TDS) 2.3, E.3. Left as the standard prints them, but for its slips: the headers of
SSCC++ and ITIP++ are those of table 14-1, and the two URIs of SGTIN-96 agree.
"""

import pytest

from identity import from_uri, parse, read_epc, write_epc
from identity.epc.schemes import SCHEMES

# Scheme, EPC, what follows `urn:epc:tag:SCHEME:`, element string: `^` separates elements.
WITH_TAG_URI = [
    ("sgtin-96", "3066C4409047E140075BCD15", "3.95060001343.05.123456789", "010950600013435221123456789"),
    (
        "sgtin-198",
        "3666C4409047E159B2C2BF100000000000000000000000000000",
        "3.95060001343.05.32a%2Fb",
        "01095060001343522132a/b",
    ),
    ("sscc-96", "311BA1B300CE0A6A83000000", "0.952012.03456789123", "00095201234567891235"),
    ("sgln-96", "3276451FD46072000000162E", "3.9521141.12345.5678", "41495211411234542545678"),
    (
        "sgln-195",
        "3976451FD46072CD9615F8800000000000000000000000000000",
        "3.9521141.12345.32a%2Fb",
        "414952114112345425432a/b",
    ),
    ("grai-96", "3376451FD40C0E400000162E", "3.9521141.12345.5678", "8003095211411234545678"),
    (
        "grai-170",
        "3776451FD40C0E59B2C2BF1000000000000000000000",
        "3.9521141.12345.32a%2Fb",
        "80030952114112345432a/b",
    ),
    ("giai-96", "3476451FD40000000000162E", "3.9521141.5678", "800495211415678"),
    (
        "giai-202",
        "3876451FD59B2C2BF10000000000000000000000000000000000",
        "3.9521141.32a%2Fb",
        "8004952114132a/b",
    ),
    ("gsrn-96", "2D76451FD4499602D2000000", "3.9521141.1234567890", None),
    ("gsrnp-96", "2E76451FD4499602D2000000", "3.9521141.1234567890", None),
    ("gdti-96", "2C76451FD46072000000162E", "3.9521141.12345.5678", "25395211411234545678"),
    (
        "gdti-174",
        "3E76451FD7039B061438997367D0C18B266D1AB66EE0",
        "3.9521141.98765.ABCDefgh012345678",
        "2539521141987650ABCDefgh012345678",
    ),
    ("cpi-96", "3C76451FD400C0E680003039", "3.9521141.98765.12345", None),
    ("cpi-var", "3D76451FD75411DEF6B4CC00000003039000", "3.9521141.5PQ7%2FZ43.12345", None),
    ("sgcn-96", "3F76451FD612640000019907", "3.9521141.67890.04711", None),
    ("gid-96", "3500E86F8000A9E000000586", "952056.2718.1414", None),
    ("usdod-96", "2F320434147455900000162E", "3.CAGEY.5678", None),
    ("adi-var", "3B0E0CF5E76C9047759AD00373DC7602E7200", "3.35962.PQ7VZ4.M37GXB92", None),
    ("itip-110", "4076451FD40C0E40820000000F54", "3.9521141.012345.01.02.981", None),
    (
        "itip-212",
        "4176451FD40C0E4082DBDD8B36600000000000000000000000000000",
        "3.9521141.012345.01.02.mw133",
        None,
    ),
]

# TDS 2.3 has no example of a GDTI-113, which TDS 1.9 withdrew; these were made by two other encoders.
WITHDRAWN = [
    ("3A74F4E4E7039AC790E65D7AA5C38000", "3.4012345.98765.12345678901234567"),
    ("3A28499602D218000000004C75290000", "1.1234567890.12.0021458"),
]

# Scheme, EPC, path of its Digital Link, element string.
WITHOUT_TAG_URI = [
    ("sgtin+", "F73795211411234538566CB0AFC4", "01/79521141123453/21/32a%2Fb", "01795211411234532132a/b"),
    (
        "dsgtin+",
        "FB342CDE795211411234538566CB0AFC4",
        "01/79521141123453/21/32a%2Fb",
        "0179521141123453172206302132a/b",
    ),
    ("sscc+", "F90095201234567891235", "00/095201234567891235", "00095201234567891235"),
    (
        "sgln+",
        "F2395211411234548566CB0AFC4",
        "414/9521141123454/254/32a%2Fb",
        "414952114112345425432a/b",
    ),
    ("grai+", "F13095211411234548566CB0AFC4", "8003/0952114112345432a%2Fb", "80030952114112345432a/b"),
    ("giai+", "FA3952114132E83C2BF10", "8004/952114132a%2Fb", "8004952114132a/b"),
    ("gsrn+", "F43952114112345678906", "8018/952114112345678906", None),
    ("gsrnp+", "F53952114112345678906", "8017/952114112345678906", None),
    ("gdti+", "F6395211411234540458B8", "253/95211411234545678", "25395211411234545678"),
    ("cpi+", "F0395211415E87A145BAFB4D19A8C0E4", "8010/95211415PQ7%2FZ43/8011/12345", None),
    ("sgcn+", "F839521141678909509338", "255/952114167890904711", None),
    ("itip+", "F3309521141123454010266AE27FDF35", "8006/095211411234540102/21/rif981", None),
]

# The same with a host name behind, and nothing else different.
WITH_HOST_NAME = [
    ("sgtin++", "FD3795211411234538566CB0AFC525065F1876F0D996D800"),
    ("dsgtin++", "FC342CDE795211411234538566CB0AFC525065F1876F0D996D80"),
    ("sscc++", "EF009520123456789123592832F8C3B786CCB6C0"),
    ("sgln++", "E9395211411234548566CB0AFC525065F1876F0D996D8000"),
    ("grai++", "EB3095211411234548566CB0AFC525065F1876F0D996D800"),
    ("giai++", "EE3952114132E83C2BF1494197C61DBC3665B600"),
    ("gsrn++", "E7395211411234567890692832F8C3B786CCB6C0"),
    ("gsrnp++", "E8395211411234567890692832F8C3B786CCB6C0"),
    ("gdti++", "EA395211411234540458BA4A0CBE30EDE1B32DB0"),
    ("cpi++", "E6395211415E87A145BAFB4D19A8C0E64A0CBE30EDE1B32DB000"),
    ("sgcn++", "EC3952114167890950933C94197C61DBC3665B60"),
    ("itip++", "ED309521141123454010266AE27FDF3592832F8C3B786CCB6C00"),
]


def words(hexadecimal: str) -> bytes:
    """As a tag holds it: in words of 16 bits."""
    return bytes.fromhex(hexadecimal + "0" * (-len(hexadecimal) % 4))


def in_words(epc: str) -> str:
    return words(epc).hex().upper()


def test_the_tables_are_whole() -> None:
    named = {row[0] for table in (WITH_TAG_URI, WITHOUT_TAG_URI, WITH_HOST_NAME) for row in table}
    assert named | {"gdti-113"} == {scheme.name for scheme in SCHEMES}
    assert len({scheme.header for scheme in SCHEMES}) == len(SCHEMES) == 46


@pytest.mark.parametrize(("scheme", "epc", "body", "printed"), WITH_TAG_URI)
def test_a_scheme_with_a_tag_uri(scheme: str, epc: str, body: str, printed: str | None) -> None:
    found = read_epc(words(epc))
    assert found.tag_uri == f"urn:epc:tag:{scheme}:{body}"
    assert found.uri is not None and found.uri.startswith("urn:epc:id:")
    assert found.tag_uri.endswith(found.uri.split(":", 4)[4])
    assert from_uri(found.tag_uri) == words(epc)
    if printed is not None:
        assert found.identity.names == parse(printed, "]C1").names != ("plain", in_words(epc))
        digits = len(body.split(".")[1])
        written = write_epc(
            found.identity, scheme=scheme, company_digits=digits, filter_value=found.filter or 0
        )
        assert written == words(epc)


@pytest.mark.parametrize(("epc", "body"), WITHDRAWN)
def test_what_was_withdrawn_is_read(epc: str, body: str) -> None:
    found = read_epc(words(epc))
    assert found.tag_uri == f"urn:epc:tag:gdti-113:{body}" and found.identity.kind == "gdti"
    assert from_uri(found.tag_uri) == words(epc)


@pytest.mark.parametrize(("scheme", "epc", "path", "printed"), WITHOUT_TAG_URI)
def test_a_scheme_of_tds_2(scheme: str, epc: str, path: str, printed: str | None) -> None:
    found = read_epc(words(epc))
    assert (found.uri, found.tag_uri) == (f"https://id.gs1.org/{path}", None)
    assert found.filter == int(epc[2], 16)
    if printed is None:
        assert found.identity.kind == "plain"
    else:
        assert found.identity.as_dict() == parse(printed, "]C1").as_dict()
        assert found.identity.names == parse(found.uri, "]Q1").names
        assert write_epc(found.identity, scheme=scheme, filter_value=found.filter) == words(epc)


@pytest.mark.parametrize(("scheme", "epc"), WITH_HOST_NAME)
def test_a_host_name_is_no_part_of_what_is_named(scheme: str, epc: str) -> None:
    found = read_epc(words(epc))
    same = next(epc for name, epc, _, _ in WITHOUT_TAG_URI if name == scheme[:-1])
    plainly = read_epc(words(same))
    assert (found.uri, found.filter) == (plainly.uri, plainly.filter)
    assert found.identity.as_dict() == plainly.identity.as_dict()
