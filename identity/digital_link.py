"""GS1 Digital Link: web addresses that name a thing, to the same identities as element strings.

`https://anybody.example/some/path/01/09521234543213/10/ABC123?17=261231`

The one idea: nearly every address that is scanned is only an address, and any can be made to look like more. So what
biip takes in is first brought down to the part that it must get right: the address may hold only what addresses hold,
the key is the last one in the path and what it names is the thing, nothing is said twice, a GTIN has all its digits,
and what belongs to the key stands in the path.

Source: GS1 Digital Link Standard: URI Syntax; GS1 Barcode Syntax Dictionary (which AIs are keys, and which may stand
in the query); RFC 3986.
"""

import re
from typing import Final

from biip import ParseError
from biip.gs1_digital_link_uris import GS1DigitalLinkURI

from identity.check import is_digits
from identity.elements import BIIP, MAX_ELEMENTS, MAX_TEXT, THINGS, Element, NotProved, checked, identity_of
from identity.values import Identity, plain

SCHEMES: Final = ("https://", "http://", "HTTPS://", "HTTP://")

# Scheme, host and port, path, query, fragment. No user name, which is how an address looks like another one's; no
# character outside RFC 3986, such as the line breaks that Python's own parser drops; `%` only before two hex digits.
_URI: Final = re.compile(
    r"(?:https?|HTTPS?)://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?"
    r"(?P<path>/(?:[A-Za-z0-9._~:/@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)"
    r"(?:\?(?P<query>(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*))?"
    r"(?:#(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)?",
    re.ASCII,
)
# The primary keys: what may stand last in the path before its qualifiers, and names the thing.
_KEYS: Final = frozenset(
    {
        *("00", "01", "253", "255", "401", "402", "414", "415", "417"),
        *("8003", "8004", "8006", "8010", "8013", "8017", "8018"),
    }
)
# What names a thing together with its key stands behind it in the path, never in the query.
_IN_PATH_ONLY: Final = frozenset({"03", "21", "22", "235", "254", "8011", "8019", "8020"})


def read_link(text: str, year: int) -> Identity:
    """What a web address names: `plain`, without a word, where it has no key, as most have none."""
    try:
        found = elements(text)
        if found and found[0].ai != "00":
            # The key says which thing it is; others in the query are said of it, such as the GTIN of an asset. A unit
            # comes before them anyway.
            found = [found[0], *(said for said in found[1:] if said.ai not in THINGS)]
        return identity_of(text, found, year)
    except (NotProved, ParseError) as problem:
        return plain(text, f"no valid GS1 Digital Link: {str(problem)[:200]}")


def elements(text: str) -> list[Element]:
    """The elements of a link, its key first; none where the path has no key.

    Raises:
        NotProved, biip.ParseError: it has a key, and is no valid link.
    """
    uri = _URI.fullmatch(text)
    if uri is None:
        return []
    key, path = _from_key(uri["path"])
    if key is None:
        return []
    if len(text) > MAX_TEXT:
        raise NotProved(f"{len(text)} characters is longer than any link")
    query = _attributes(uri["query"] or "")
    if "" in path or len(path) // 2 + len(query) > MAX_ELEMENTS:
        raise NotProved("a part of its path is empty, or there are too many")
    link = GS1DigitalLinkURI.parse(f"https://id.gs1.org/{'/'.join(path)}?{'&'.join(query)}", config=BIIP)
    if len(link.element_strings) != len(path) // 2 + len(query):
        raise NotProved("there is no such AI as one in its query")
    if key == "01" and len(path[1]) != len(link.element_strings[0].value):
        # It had 8, 12 or 13, and biip filled it up. The standard dropped these: a date in a path looks like one.
        raise NotProved("the GTIN in a link has 14 digits")
    return [checked(element) for element in link.element_strings]


def _from_key(path: str) -> tuple[str | None, list[str]]:
    """The last key of the path, and the path from there; pairs are counted from the end, as before the key may stand
    anything.
    """
    parts = path.split("/")[1:]
    for place in range(len(parts) - 2, -1, -2):
        if parts[place] in _KEYS:
            return parts[place], parts[place:]
        if not is_digits(parts[place]):
            break
    return None, []


def _attributes(query: str) -> list[str]:
    """The `AI=value` of a query: names that are no numbers are somebody else's."""
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, equals, value = part.partition("=")
        if not equals or not is_digits(name):
            continue
        if name in found or name in _IN_PATH_ONLY or not value:
            raise NotProved(f"({name}) cannot stand so in its query: twice, empty, or apart from its key")
        found[name] = value
    return [f"{name}={value}" for name, value in found.items()]
