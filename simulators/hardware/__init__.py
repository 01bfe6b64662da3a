"""Hardware that is not here: one simulated device a file, on pseudo-terminals and sockets, with bad cables.

The one idea: a device is pure (`device`), a rig carries its bytes (`rig`) over a transport (`transports`) through
faults (`faults`), and keeps the account of what could be read (`account`). Each kind encodes its frames from the
maker's facts and knows nothing of the driver, so that the two cannot agree on a mistake. A new kind is one file and
one line here.
"""

import importlib
from dataclasses import dataclass
from typing import Final

from simulators.hardware.device import Device, Reads


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of device; imported when it is needed."""

    target: str
    """`module:Class`, the class a `Device`."""
    reads: Reads
    about: str
    """What it is, in a line."""

    def load(self) -> type[Device]:
        """Its class."""
        module, _, name = self.target.partition(":")
        found: type[Device] = getattr(importlib.import_module(module), name)
        return found


# Each has the name of its driver.
KINDS: Final[dict[str, Kind]] = {
    "text-line": Kind("simulators.hardware.text_line:TextLine", "code", "a barcode scanner that sends lines"),
    "zebra-ssi": Kind("simulators.hardware.zebra_ssi:ZebraSsi", "code", "a Zebra scanner that speaks SSI"),
    "keyboard-wedge": Kind(
        "simulators.hardware.keyboard_wedge:KeyboardWedge", "code", "a barcode scanner that plays keyboard"
    ),
    "hid-pos": Kind("simulators.hardware.hid_pos:HidPos", "code", "a barcode scanner in HID POS mode"),
    "m100": Kind("simulators.hardware.m100:M100", "epc", "a UHF module M100, QM100, YRM100 or R200"),
    "chafon": Kind(
        "simulators.hardware.chafon:Chafon", "epc", "a UHF reader UHFReader18, UHFReader288 or RRU98xx"
    ),
    "rdm6300": Kind("simulators.hardware.rdm6300:Rdm6300", "card", "a reader of 125 kHz cards"),
    "a0": Kind("simulators.hardware.a0:A0", "epc", "a UHF reader of the A0 family (R2000, E710, IND90x)"),
    "thingmagic": Kind(
        "simulators.hardware.thingmagic:ThingMagic", "epc", "a UHF module M6E, M6E Nano or M7E"
    ),
    "llrp": Kind("simulators.hardware.llrp:Llrp", "epc", "a fixed reader that speaks LLRP"),
    "impinj-r700": Kind(
        "simulators.hardware.impinj_r700:ImpinjR700", "epc", "an Impinj R700 with its IoT device interface"
    ),
    "zebra-iotc": Kind(
        "simulators.hardware.zebra_iotc:ZebraIotc", "epc", "a Zebra FX9600 or RFD40 with the IoT Connector"
    ),
}
