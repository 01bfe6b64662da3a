"""Fields of the schemes that came with TDS 2.0, whose names end in `+`.

A number stands here as it is printed, check digit and all, four bits a digit; a text takes as few bits as its
characters allow.

Source: GS1 EPC Tag Data Standard (TDS) 2.3, §14.5, whose names of the methods stand at each class.
"""

from dataclasses import dataclass
from typing import ClassVar

from identity.check import is_checked, is_digits
from identity.epc.bits import BitReader, BitWriter, NotAllowed
from identity.epc.text import DECIMAL, ENCODINGS, SET_82, checked, shortest_encoding

_DELIMITER, _TERMINATOR = 14, 15


@dataclass(frozen=True, slots=True)
class Digits:
    """So many digits of 4 bits ("Fixed-Length Numeric", §14.5.4)."""

    count: int
    what: str
    checked: bool = True
    """Whether the last one is the check digit of those before."""
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        return (self._checked(f"{bits.take(4 * self.count):0{self.count}x}"),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        bits.put(int(self._checked(part), 16), 4 * self.count)

    def _checked(self, text: str) -> str:
        if len(text) != self.count or not is_digits(text):
            raise NotAllowed(f"its {self.what} {text[:40]!r} is not {self.count} digits")
        if self.checked and not is_checked(text):
            raise NotAllowed(f"{text} is nobody's {self.what}")
        return text


@dataclass(frozen=True, slots=True)
class Text:
    """An encoding indicator, a length and so many characters ("Variable-length alphanumeric", §14.5.6)."""

    most: int
    what: str
    allowed: frozenset[str] = SET_82
    length_bits: int = 5
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        indicator = bits.take(3)
        if indicator >= len(ENCODINGS):
            raise NotAllowed(f"there is no encoding {indicator} for its {self.what}")
        length = self._checked(bits.take(self.length_bits))
        return (checked(ENCODINGS[indicator].read(bits, length), self.allowed, self.what),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        length = self._checked(len(part))
        indicator = shortest_encoding(checked(part, self.allowed, self.what))
        bits.put(indicator, 3)
        bits.put(length, self.length_bits)
        ENCODINGS[indicator].write(bits, part)

    def _checked(self, length: int) -> int:
        if not 1 <= length <= self.most:
            raise NotAllowed(f"its {self.what} is not 1 to {self.most} characters")
        return length


@dataclass(frozen=True, slots=True)
class DigitsThenText:
    """Digits, and maybe a text behind that does not begin with one ("Delimited/Terminated Numeric", §14.5.5)."""

    most: int
    what: str
    allowed: frozenset[str] = SET_82
    parts: ClassVar[int] = 1
    # It begins with a company prefix, which has 4 digits at least (TDS §7.1).
    _LEAST: ClassVar[int] = 4

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        text = ""
        while (digit := bits.take(4)) < 10 and len(text) <= self.most:
            text += str(digit)
        if digit == _DELIMITER:
            (rest,) = self._rest().read(bits)
            if is_digits(rest[0]):
                raise NotAllowed(f"its {self.what} goes on with a digit behind its digits")
            return (self._checked(text, rest),)
        if digit != _TERMINATOR:
            raise NotAllowed(f"its {self.what} has no end")
        return (self._checked(text, ""),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        rest = part.lstrip("0123456789")
        digits = part[: len(part) - len(rest)]
        self._checked(digits, rest)
        for digit in digits:
            bits.put(int(digit), 4)
        bits.put(_DELIMITER if rest else _TERMINATOR, 4)
        if rest:
            self._rest().write(bits, rest)

    def _rest(self) -> Text:
        return Text(self.most, self.what, self.allowed)

    def _checked(self, digits: str, rest: str) -> str:
        if len(digits) < self._LEAST:
            raise NotAllowed(f"its {self.what} does not begin with {self._LEAST} digits")
        if len(digits + rest) > self.most:
            raise NotAllowed(f"its {self.what} has more than {self.most} characters")
        return digits + rest


@dataclass(frozen=True, slots=True)
class CountedDigits:
    """A length and so many digits ("Variable-length numeric string without encoding indicator", §14.5.13)."""

    most: int
    what: str
    length_bits: int = 4
    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        return (DECIMAL.read(bits, self._checked(bits.take(self.length_bits))),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if not is_digits(part):
            raise NotAllowed(f"its {self.what} {part[:40]!r} is not digits")
        bits.put(self._checked(len(part)), self.length_bits)
        DECIMAL.write(bits, part)

    def _checked(self, length: int) -> int:
        if not 1 <= length <= self.most:
            raise NotAllowed(f"its {self.what} is not 1 to {self.most} digits")
        return length


@dataclass(frozen=True, slots=True)
class Date:
    """Year, month and day ("6-digit date YYMMDD", §14.5.8).

    Whether there is such a day, `identity.dates` says, as of a label: here too it costs only the date, where the
    standard would give up the whole EPC.
    """

    parts: ClassVar[int] = 1

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        year, month, day = bits.take(7), bits.take(4), bits.take(5)
        return (self._checked(f"{year:02}{month:02}{day:02}"),)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        self._checked(part)
        for place, width in ((0, 7), (2, 4), (4, 5)):
            bits.put(int(part[place : place + 2]), width)

    def _checked(self, date: str) -> str:
        if len(date) != 6 or not is_digits(date) or date[2:4] > "12" or date[4:] > "31":
            raise NotAllowed(f"there is no date {date[:40]!r}")
        return date


@dataclass(frozen=True, slots=True)
class DateKind:
    """Which date follows, by its application identifier (the first 4 bits of a "Prioritised Date", §14.5.3)."""

    parts: ClassVar[int] = 1
    _AIS: ClassVar[tuple[str, ...]] = ("11", "13", "15", "16", "17", "7006", "7007")

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        kind = bits.take(4)
        if kind >= len(self._AIS):
            raise NotAllowed(f"there is no kind of date {kind}")
        return (self._AIS[kind],)

    def write(self, bits: BitWriter, *parts: str) -> None:
        """See `Field`."""
        (part,) = parts
        if part not in self._AIS:
            raise NotAllowed(f"({part[:40]}) is no date that stands there")
        bits.put(self._AIS.index(part), 4)


@dataclass(frozen=True, slots=True)
class HostName:
    """Whose resolver a Digital Link names; it does not belong to what the tag is on, and is skipped (§14.5.16)."""

    parts: ClassVar[int] = 0

    def read(self, bits: BitReader) -> tuple[str, ...]:
        """See `Field`."""
        ascii_7, length = bits.take(1), bits.take(6)
        bits.take(7 * length if ascii_7 else 16 * -(-length // 3))
        return ()

    def write(self, _: BitWriter, *__: str) -> None:
        """See `Field`."""
        raise NotAllowed(
            "schemes with a host name are read, not written: take the one whose name ends in one +"
        )
