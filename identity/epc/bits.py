"""The one bit reader and the one bit writer."""


class NotAllowed(ValueError):
    """Bits, or a value to be written, that the scheme does not allow; the message says which."""


class BitReader:
    """Takes numbers off the front; what is asked for beyond the end is not allowed."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self.bits = self.left = len(data) * 8

    def take(self, bits: int) -> int:
        """The next so many bits, as a number."""
        if bits > self.left:
            raise NotAllowed(f"its {self.bits} bits are too few")
        self.left -= bits
        return self._value >> self.left & ((1 << bits) - 1)

    def rest_is_zero(self) -> bool:
        """Whether nothing but padding follows; takes nothing."""
        return not self._value & ((1 << self.left) - 1)


class BitWriter:
    """Puts numbers behind each other."""

    def __init__(self) -> None:
        self._value = self._bits = 0

    def put(self, value: int, bits: int) -> None:
        """A number in so many bits; whoever calls it has checked that it fits."""
        assert 0 <= value < 1 << bits, (value, bits)
        self._value, self._bits = self._value << bits | value, self._bits + bits

    def words(self) -> bytes:
        """All of it, filled up with zeros to 16-bit words, which is how tags are written (TDS §15.1.1)."""
        words = -(-self._bits // 16)
        return (self._value << words * 16 - self._bits).to_bytes(words * 2, "big")
