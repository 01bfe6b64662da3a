"""Tags as they are encoded, bit by bit: for tests that need one of a certain thing."""


def packed(*numbers: tuple[int, int]) -> bytes:
    """(number, bits) behind each other, filled up with zeros to words of 16 bits."""
    value = bits = 0
    for number, width in numbers:
        value, bits = value << width | number, bits + width
    return (value << -bits % 16).to_bytes((bits + -bits % 16) // 8, "big")


def epc(header: int, filter_value: int, partition: int, *numbers: tuple[int, int]) -> bytes:
    """`numbers` are (number, bits)."""
    return packed((header, 8), (filter_value, 3), (partition, 3), *numbers)


def sgtin(gtin: str, serial: int) -> bytes:
    """SGTIN-96 of a GTIN whose company prefix has seven digits."""
    digits = gtin.zfill(14)
    return epc(0x30, 1, 5, (int(digits[1:8]), 24), (int(digits[0] + digits[8:13]), 20), (serial, 38))


def sscc(number: str) -> bytes:
    """SSCC-96, likewise."""
    return epc(0x31, 2, 5, (int(number[1:8]), 24), (int(number[0] + number[8:17]), 34), (0, 24))
