"""Characters: which of them a field may hold, how they stand in bits, and how they stand in URIs.

Source: GS1 EPC Tag Data Standard (TDS) 2.3, appendices A and G, §14.5.6 and table E.
"""

import re
from dataclasses import dataclass
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from typing import Protocol
from urllib.parse import quote, unquote

from identity.check import is_digits
from identity.epc.bits import BitReader, BitWriter, NotAllowed

# What serial numbers may hold (TDS table A-1) and what part numbers may hold (table G-1).
SET_82 = frozenset(digits + ascii_letters + "!\"%&'()*+,-./:;<=>?_")
SET_39 = frozenset(digits + ascii_uppercase + "#-/")
# CAGE codes and DoDAACs (TDS §6.3.17): no I and no O.
CAGE = SET_39 - set("#-/IO")


def checked(text: str, allowed: frozenset[str], what: str) -> str:
    """The text, if it holds nothing but these characters."""
    for character in text:
        if character not in allowed:
            raise NotAllowed(f"its {what} holds the character {character!r}")
    return text


# In URIs ------------------------------------------------------------------------------------------------------------

# What a URN takes as it is, besides letters, digits and `-._` (TDS §5, OtherChar).
_IN_URN = "!'()*+,:;="
_IN_URN_OR_ESCAPED = re.compile(rf"(?:[A-Za-z0-9._{re.escape(_IN_URN)}-]|%[0-9A-Fa-f]{{2}})*", re.ASCII)


def escaped(text: str) -> str:
    """As it stands in an EPC URI."""
    return quote(text, safe=_IN_URN)


def unescaped(part: str) -> str:
    """From an EPC URI."""
    if _IN_URN_OR_ESCAPED.fullmatch(part) is None:
        raise NotAllowed(f"{part[:60]!r} holds what an EPC URI must escape as % and two hexadecimal digits")
    return unquote(part, "latin-1")


def escaped_in_link(text: str) -> str:
    """As it stands in the path of a Digital Link: everything but letters, digits and `-._` (RFC 3986, unreserved)."""
    return quote(text, safe="")


# In bits, of fixed width --------------------------------------------------------------------------------------------


def character_of(code: int, bits: int) -> str:
    """The character of 6 bits, which are the last six of its ASCII code (TDS table G-1), or of 7 or 8: ASCII."""
    return chr(code | 0x40) if bits == 6 and code < 0x20 else chr(code)


def code_of(character: str, bits: int) -> int:
    """The other way; the character is one of a set that has been checked."""
    return ord(character) & ((1 << bits) - 1)


# In bits, as short as the text allows (TDS §14.5.6) ------------------------------------------------------------


class Encoding(Protocol):
    """One way to write a text whose length stands before it."""

    def bits(self, length: int) -> int:
        """How many bits so many characters take."""

    def fits(self, text: str) -> bool:
        """Whether it can write this text."""

    def read(self, bits: BitReader, length: int) -> str:
        """So many characters."""

    def write(self, bits: BitWriter, text: str) -> None:
        """A text that fits."""


@dataclass(frozen=True, slots=True)
class _PerCharacter:
    """So many bits each: the character's place in the alphabet, where there may be gaps."""

    alphabet: str
    width: int

    def bits(self, length: int) -> int:
        return self.width * length

    def fits(self, text: str) -> bool:
        return all(character in self.alphabet for character in text)

    def read(self, bits: BitReader, length: int) -> str:
        return "".join(self.alphabet[bits.take(self.width)] for _ in range(length))

    def write(self, bits: BitWriter, text: str) -> None:
        for character in text:
            bits.put(self.alphabet.index(character), self.width)


class DecimalNumber:
    """All digits as one number, with as many bits as the largest of that length needs (TDS §14.5.6.1, table B)."""

    def bits(self, length: int) -> int:
        """See `Encoding`."""
        largest: int = 10**length - 1
        return largest.bit_length()

    def fits(self, text: str) -> bool:
        """See `Encoding`."""
        return is_digits(text)

    def read(self, bits: BitReader, length: int) -> str:
        """See `Encoding`."""
        number = bits.take(self.bits(length))
        if number >= 10**length:
            raise NotAllowed(f"a number of {length} digits has more of them")
        return str(number).zfill(length)

    def write(self, bits: BitWriter, text: str) -> None:
        """See `Encoding`."""
        bits.put(int(text), self.bits(len(text)))


class _Code40:
    """Three characters of forty in 16 bits; the last three are filled up with pads (TDS §14.5.6.5, table 14-8)."""

    _PAD = "\0"
    _ALPHABET = _PAD + ascii_uppercase + "-.:" + digits

    def bits(self, length: int) -> int:
        return 16 * -(-length // 3)

    def fits(self, text: str) -> bool:
        return all(character in self._ALPHABET[1:] for character in text)

    def read(self, bits: BitReader, length: int) -> str:
        text = ""
        for _ in range(-(-length // 3)):
            number = bits.take(16) - 1
            if not 0 <= number < 40**3:
                raise NotAllowed("three of its characters are none of URN Code 40")
            text += "".join(self._ALPHABET[number // unit % 40] for unit in (1600, 40, 1))
        if self._PAD in text[:length] or text[length:].strip(self._PAD):
            raise NotAllowed("its length and its characters in URN Code 40 do not agree")
        return text[:length]

    def write(self, bits: BitWriter, text: str) -> None:
        for start in range(0, len(text), 3):
            first, second, third = map(self._ALPHABET.index, text[start : start + 3].ljust(3, self._PAD))
            bits.put(1600 * first + 40 * second + third + 1, 16)


DECIMAL = DecimalNumber()
# By encoding indicator (TDS table E); 6 and 7 are reserved.
ENCODINGS: tuple[Encoding, ...] = (
    DECIMAL,
    _PerCharacter("0123456789ABCDEF", 4),
    _PerCharacter("0123456789abcdef", 4),
    _PerCharacter(ascii_uppercase + ascii_lowercase + digits + "-_", 6),
    _PerCharacter("".join(map(chr, range(128))), 7),
    _Code40(),
)


def shortest_encoding(text: str) -> int:
    """The indicator of the encoding that takes the fewest bits."""
    fitting = [indicator for indicator, encoding in enumerate(ENCODINGS) if encoding.fits(text)]
    return min(fitting, key=lambda indicator: ENCODINGS[indicator].bits(len(text)))
