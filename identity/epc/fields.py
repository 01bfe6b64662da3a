"""Fields: how one thing that an EPC says stands in its bits.

A field is so many parts, which are texts as they stand in the tag URI before escaping. It reads them off the bits and
writes them back. What no part can be, in bits or as text, is `NotAllowed`. Nearly every field is one part; a company
prefix brings the number that the company gave, because the two share so many bits and digits.

Source: GS1 EPC Tag Data Standard (TDS) 2.3, §14.3 and §14.4, whose names of the methods stand at each class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from identity.check import is_digits
from identity.epc.bits import BitReader, BitWriter, NotAllowed
from identity.epc.text import CAGE, SET_39, SET_82, character_of, checked, code_of


class Field(Protocol):
    """One thing that an EPC says."""

    parts: ClassVar[int]

    def read(self, bits: BitReader, /) -> tuple[str, ...]:
        """Its parts."""

    def write(self, bits: BitWriter, /, *parts: str) -> None:
        """The other way."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A number without leading zeros ("Integer")."""

    bits: int
    what: str
    digits: int = 21
    """At most so many; 2^64 has not more."""
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        part = str(bits.take(self.bits))
        if len(part) > self.digits:
            raise NotAllowed(f"its {self.what} has more than {self.digits} digits")
        return (part,)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if not is_digits(part) or (part != "0" and part.startswith("0")):
            raise NotAllowed(f"its {self.what} {part[:40]!r} is not a number without leading zeros")
        if len(part) > self.digits or int(part) >= 1 << self.bits:
            raise NotAllowed(f"its {self.what} {part[:40]} is too large")
        bits.put(int(part), self.bits)


@dataclass(frozen=True, slots=True)
class Padded:
    """A number of so many digits, zeros in front ("Partition Table", "Fixed Width Integer")."""

    bits: int
    digits: int
    what: str
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        number = bits.take(self.bits)
        if number >= 10**self.digits:
            raise NotAllowed(f"its {self.what} has more than {self.digits} digits")
        return (str(number).zfill(self.digits) if self.digits else "",)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if len(part) != self.digits or (part and not is_digits(part)):
            raise NotAllowed(f"its {self.what} {part[:40]!r} is not {self.digits} digits")
        bits.put(int(part or "0"), self.bits)


@dataclass(frozen=True, slots=True)
class OneAndDigits:
    """Digits behind a 1, which keeps their leading zeros ("Numeric String")."""

    bits: int
    digits: int
    what: str
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        text = str(bits.take(self.bits))
        if text[0] != "1" or not 1 < len(text) <= self.digits + 1:
            raise NotAllowed(f"its {self.what} does not begin as one")
        return (text[1:],)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if not is_digits(part) or len(part) > self.digits:
            raise NotAllowed(f"its {self.what} {part[:40]!r} is not 1 to {self.digits} digits")
        bits.put(int("1" + part), self.bits)


@dataclass(frozen=True, slots=True)
class Text7:
    """At least one character of 7 bits, zeros behind ("String")."""

    bits: int
    most: int
    """Characters."""
    what: str
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        value, left, text = bits.take(self.bits), self.bits, ""
        while value and len(text) < self.most:
            left -= 7
            text += character_of(value >> left, 7)
            value &= (1 << left) - 1
        if value or not text:
            raise NotAllowed(f"its {self.what} is not 1 to {self.most} characters")
        return (checked(text, SET_82, self.what),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if not 1 <= len(part) <= self.most:
            raise NotAllowed(f"its {self.what} {part[:40]!r} is not 1 to {self.most} characters")
        for character in checked(part, SET_82, self.what):
            bits.put(code_of(character, 7), 7)
        bits.put(0, self.bits - 7 * len(part))


@dataclass(frozen=True, slots=True)
class Text6:
    """Characters of 6 bits up to a zero ("6-Bit Variable String")."""

    least: int
    most: int
    """Characters."""
    what: str
    allowed: frozenset[str] = SET_39
    mark: str = ""
    """What may stand in front of them, and counts (TDS §14.6.14.1)."""
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        text = ""
        while code := bits.take(6):
            text += character_of(code, 6)
            if len(text) > self.most:
                break
        return (self._checked(text),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        for character in self._checked(part):
            bits.put(code_of(character, 6), 6)
        bits.put(0, 6)

    def _checked(self, text: str) -> str:
        body = text.removeprefix(self.mark)
        if len(text) > self.most or len(body) < self.least:
            raise NotAllowed(f"its {self.what} is not {self.least} to {self.most} characters")
        checked(body, self.allowed, self.what)
        return text


@dataclass(frozen=True, slots=True)
class Cage:
    """A CAGE code of 5 characters, which has a space in front, or a DoDAAC of 6 ("6-bit CAGE/DoDAAC")."""

    width: int
    """Bits of a character."""
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        text = "".join(character_of(bits.take(self.width), self.width) for _ in range(6))
        return (checked(text.removeprefix(" "), CAGE, "CAGE code"),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if len(part) not in (5, 6):
            raise NotAllowed(f"its CAGE code {part[:40]!r} is not 5 or 6 characters")
        for character in checked(part, CAGE, "CAGE code").rjust(6):
            bits.put(code_of(character, self.width), self.width)


@dataclass(frozen=True, slots=True)
class Reserved:
    """Zeros that say nothing."""

    bits: int
    parts: ClassVar[int] = 0

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        if bits.take(self.bits):
            raise NotAllowed("its reserved bits are not zero")
        return ()

    def write(self, bits: BitWriter, *_: str) -> None:
        """See `Field`."""
        bits.put(0, self.bits)


# Bits of the company prefix by partition; it has 12 digits in partition 0 and one less in each that follows
# (TDS table 14-16 and every other partition table).
_COMPANY_BITS = (40, 37, 34, 30, 27, 24, 20)
MOST_COMPANY_DIGITS, LEAST_COMPANY_DIGITS = 12, 6


@dataclass(frozen=True, slots=True)
class Company:
    """A company prefix, and the number that the company gave ("Partition Table" and its variants)."""

    partitions: tuple[tuple[Field, Field], ...]
    """The fields of the two, by partition."""
    parts: ClassVar[int] = 2

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        partition = bits.take(3)
        if partition >= len(self.partitions):
            raise NotAllowed(f"there is no partition {partition}")
        prefix, number = self.partitions[partition]
        return prefix.read(bits) + number.read(bits)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        company, given = parts
        if not LEAST_COMPANY_DIGITS <= len(company) <= MOST_COMPANY_DIGITS:
            raise NotAllowed(f"its company prefix {company[:40]!r} is not 6 to 12 digits")
        partition = MOST_COMPANY_DIGITS - len(company)
        prefix, number = self.partitions[partition]
        bits.put(partition, 3)
        prefix.write(bits, company)
        number.write(bits, given)


def company(number: Callable[[int, int], Field]) -> Company:
    """`number` makes the field of the number from how many bits and digits the prefix takes."""
    rows = ((bits, MOST_COMPANY_DIGITS - partition) for partition, bits in enumerate(_COMPANY_BITS))
    return Company(tuple((Padded(*row, "company prefix"), number(*row)) for row in rows))
