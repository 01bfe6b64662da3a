"""What a read names: the one place where reads and identities meet."""

from datetime import UTC, datetime

from devices.reads import BarcodeRead, TagRead
from identity import Identity, identity_of_tag, parse


def identify(read: BarcodeRead | TagRead, *, gs1_anywhere: bool = False) -> Identity:
    """The identity of what was read. With `gs1_anywhere` the site says that the codes of this device hold GS1 element
    strings also where no AIM id says so.
    """
    # A label or a tag gives two digits of a year; they mean one near that of the reading.
    year = datetime.fromtimestamp(read.at, UTC).year
    if isinstance(read, TagRead):
        return identity_of_tag(read.epc, read.pc, read.text, year=year)
    return parse(read.text, read.symbology, year=year, gs1_anywhere=gs1_anywhere)
