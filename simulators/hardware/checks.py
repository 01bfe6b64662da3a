"""Checksums of simulated devices: bit by bit as the standards draw them, so that no table can be wrong twice."""


def crc16(
    data: bytes, *, polynomial: int = 0x1021, initial: int = 0xFFFF, reflected: bool = False, final: int = 0
) -> int:
    """A CRC of 16 bits. `polynomial` is written in the direction of the shift: 1021 to the left, 8408 reflected."""
    crc = initial
    for byte in data:
        crc ^= byte if reflected else byte << 8
        for _ in range(8):
            if reflected:
                crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
            else:
                crc = (crc << 1 & 0xFFFF) ^ (polynomial if crc & 0x8000 else 0)
    return crc ^ final


def tag_crc(pc: int, epc: bytes) -> int:
    """What a tag itself sends behind PC and EPC (Gen2 6.3.2.1.2.1: CRC-16 of ISO/IEC 13239)."""
    return crc16(pc.to_bytes(2, "big") + epc, final=0xFFFF)
