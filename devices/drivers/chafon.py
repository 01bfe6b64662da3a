"""UHF readers with Chafon's protocol: UHFReader18, UHFReader288, UHFReader86, RRU98xx and their many namesakes.

Command `length address command data crc16`, answer `length address command status data crc16`; the length does not
count itself, the CRC makes the whole frame zero, 57600 8N1 from the factory, TCP port 6000 or 27011 on readers with a
network. The one idea: there is no start byte, so a frame is whatever looks like one all through: a command and status
that the protocol has, a length that fits them, tags whose lengths add up to the frame's, and a CRC of zero. The
cheapest test comes first: a pattern made of the table of answers finds the places that are worth a look.

Two dialects: the 18 counts tags and says no more, the 288 adds antenna and signal strength. The reader's type, asked
for at the start, says which. It reads one round each time it is asked, and hears nothing while it is at it: the next
round, or a beep, is asked for when the last one is over. Or (mode=push) it reads by itself and answers little else.

What looks like a frame without being one: in a megabyte of random bytes, 0.00003 (see `_ANSWERS`).

Sources: "UHFReader18 user's manual" V2.0; "UHF RFID reader user manual" V1.14 of the UR series (the 288's protocol);
the maker's library for the 288, where the manuals are silent.
"""

import re
from collections.abc import Sequence
from typing import ClassVar

from devices.driver import Outcome
from devices.options import Option, choice, number, numbers, yes_or_no
from devices.reads import Moment, Read, TagRead
from devices.wire.checksums import crc_mcrf4xx
from devices.wire.dialogue import Step, TalkingDriver

_INVENTORY, _INFO, _SCAN_TIME, _POWER, _BEEP = 0x01, 0x21, 0x25, 0x2F, 0x33
_WORK_MODE, _REAL_TIME, _PUSHED = 0x35, 0x76, 0xEE
_BROADCAST = 0xFF
_DONE, _MORE, _STATISTICS, _HEARTBEAT, _UNKNOWN_COMMAND = 0x00, 0x03, 0x26, 0x28, 0xFE
# A round is over: all read, its time is up, memory full, a tag did not understand or was too weak, no tag.
_OVER = bytes([0x01, 0x02, 0x04, 0xFA, 0xFB, 0xFC])
_REFUSED = bytes([0xFD, 0xFF])  # wrong length, wrong parameter
_TROUBLES = {
    0xF8: "is not connected, or its cable is damaged: check it, or leave it out of antennas=",
    0xF9: "could not be read from (status F9): check antenna and power supply",
}
_SETTINGS = {_SCAN_TIME: "scan time", _POWER: "power", _WORK_MODE: "work mode", _REAL_TIME: "real-time mode"}
_SETTING_STATUSES = bytes([_DONE, 0x13, 0x14, 0xF9, *_REFUSED])

# Every answer that is used: command, statuses, the least and the greatest length that such an answer has. A place is
# looked at only if all four fit. What random bytes must pass to become a tag, for each of the three forms of one:
# - pushed by an 18 (EE, 00, then nothing but the EPC): command and status 2^-16, CRC 2^-16, a length that leaves an
#   EPC of whole words 31/256; 2^-35 for each byte of noise, 0.00003 for a megabyte.
# - pushed by a 288: the same with the EPC's own length, which must agree: 2^-8 of that.
# - of a round (01, four statuses): 2^-14 and 2^-16, the number of tags and the length of the last 2^-8 each: below
#   2^-48.
_ANSWERS: tuple[tuple[int, bytes, int, int], ...] = (
    (0x00, bytes([_UNKNOWN_COMMAND]), 5, 5),
    (_INVENTORY, bytes([0x01, 0x02, _MORE, 0x04]), 6, 255),
    (_INVENTORY, bytes([_STATISTICS]), 12, 12),
    # With an antenna and a number of tags, or without.
    (_INVENTORY, bytes([*_TROUBLES, 0xFA, 0xFB, 0xFC, *_REFUSED]), 5, 7),
    # 8 bytes on an 18, 12 on a 288.
    (_INFO, bytes([_DONE]), 13, 17),
    *((command, _SETTING_STATUSES, 5, 6) for command in (*_SETTINGS, _BEEP)),
    # Antenna, length, EPC and TID, signal strength: 77 bytes at the most.
    (_PUSHED, bytes([_DONE]), 7, 82),
    # A number, the states of 4 or 8 antennas, a number.
    (_PUSHED, bytes([_HEARTBEAT]), 17, 21),
)
_LENGTHS = {(command, status): (low, high) for command, each, low, high in _ANSWERS for status in each}
_PLACE = re.compile(
    b"(?s)[\x05-\xff].(?:"
    + b"|".join(re.escape(bytes(command_and_status)) for command_and_status in _LENGTHS)
    + b")"
)
_HEAD = 4
_TID_INCLUDED = 0x80  # in the length of an EPC (Impinj's FastID): its last 12 bytes are the TID
_TID_BYTES = 12
_LONGEST_EPC = 62

# The type in the answer to the first question → its name, and which dialect it speaks.
_TYPES = {
    0x03: ("RRU9803M", 18),
    0x08: ("RRU9803M", 18),
    0x09: ("UHFReader18", 18),
    0x0C: ("UHFReader288M", 288),
    0x0F: ("UHFReader86", 288),
    0x10: ("UHFReader86", 288),
    0x16: ("RRU9883M", 288),
    0x20: ("UHFReader288MP", 288),
    0x8B: ("UHFReader288ADV", 288),
}
_ANSWER_MODE = bytes(6)
# Scan mode, output on the serial line, several tags, from address 0 on, one word, no pause between reads (18, 8.4.9).
_SCAN_MODE = bytes([0x01, 0x02, 0x04, 0x00, 0x01, 0x00])
_SESSIONS = {"0": 0, "1": 1, "2": 2, "3": 3, "auto": 0xFF}
_NOT_SAVED = 0x80  # with a power: until it is switched off (288 only; an 18 writes it to its EEPROM)

# How long a round lasts: told to a 288 each time; an 18 has it in its EEPROM, from the factory 1 s.
_SCAN_288_MS, _SCAN_18_MS = 500, 1000
# Rounds last up to 75 ms longer (18, 8.2.1), the longest frame takes 270 ms at 9600 baud, and there are networks.
_LATE_MS = 1000
_MOST_MISSES = 3
# After a round that failed at once, so that a missing antenna is not asked a hundred times a second.
_PAUSE_MS = 200
# A 288 says nothing in front of an empty field but its heartbeat, which may be switched off: it is asked.
_SILENCE_MS = 10_000
# Buzzer and lamp: on, off (in 50 ms), how often (18, 8.4.7; the same in the maker's library for the 288). In the
# order of importance: of two that wait for the end of a round, the last in this table is heard.
_BEEPS: dict[Outcome, tuple[int, int, int]] = {"ok": (2, 1, 1), "duplicate": (2, 2, 2), "reject": (4, 2, 3)}
_BEEP_UNIT_MS = 50


# Antennas as bits (None: not told), and of each tag: length, EPC, perhaps TID, perhaps signal strength.
_Found = tuple[int | None, Sequence[bytes]]


class Chafon(TalkingDriver):
    """The driver `chafon`."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("model", choice("auto", "18", "288"), "auto", "the dialect; auto: by the reader's type"),
        Option("mode", choice("poll", "push"), "poll", "push: the reader reads by itself, as set in it"),
        Option("address", number(0, 255), _BROADCAST, "the reader's; 255: any"),
        Option("antennas", numbers(1, 8), (1,), "1,2,4: read from in turn (poll; 288)"),
        Option("q", number(0, 15), 4, "2^q tags are expected in the field (poll; 288)"),
        Option("session", choice(*_SESSIONS), "0", "Gen2 session; auto: the reader chooses (poll; 288)"),
        Option("scan_time_ms", number(300, 25_500), None, "a round's length, in steps of 100 (poll)"),
        Option("power_dbm", number(0, 30), None, "transmit power; left out: as set in the reader"),
        Option("tid", yes_or_no, False, "read the TID of Impinj tags, too (poll; 288)"),
        Option("beep", yes_or_no, True, "let the reader's buzzer and lamp say what became of a read"),
    )
    BAUDS: ClassVar[tuple[int, ...]] = (57600, 115200, 38400, 19200, 9600)
    ASK: ClassVar[bytes] = bytes.fromhex("04ff211995")
    MAX_FRAME: ClassVar[int] = 256
    HINT: ClassVar[str] = "check cable, power, baud and address, and that it is a reader of this family"

    def __init__(
        self,
        device: str,
        *,
        model: str = "auto",
        mode: str = "poll",
        address: int = _BROADCAST,
        antennas: tuple[int, ...] = (1,),
        q: int = 4,
        session: str = "0",
        scan_time_ms: int | None = None,
        power_dbm: int | None = None,
        tid: bool = False,
        beep: bool = True,
    ) -> None:
        super().__init__(device)
        self._told_dialect = None if model == "auto" else int(model)
        self._told_address = None if address == _BROADCAST else address
        self._push, self._beeps = mode == "push", beep
        self._antennas, self._power_dbm = antennas, power_dbm
        self._told_scan_ms = None if scan_time_ms is None else -(-scan_time_ms // 100) * 100
        # Q and flags, session, no mask (EPC memory, address, length), target A.
        self._round_options = bytes([q | (0x20 if tid else 0), _SESSIONS[session], 1, 0, 0, 0, 0])
        self._found: _Found | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._dialect, self._address = self._told_dialect, self._told_address
        self._its_power_dbm: int | None = None
        self._its_scan_ms = _SCAN_18_MS
        self._turn = self._misses = 0
        self._pending: Outcome | None = None
        self._wrong: dict[str, str] = {}

    # --- the start --------------------------------------------------------------------------------------------

    def open(self, now: Moment) -> None:
        """Have it stop reading by itself (it would, even after a power cut), drain, and ask what it is."""
        super().open(now)
        self._begin_anew()
        # A 288 and an 18 are stopped differently; an 18 that is not known as one yet does not mind.
        steps = [
            self._stop() if self._dialect == 18 else self._real_time(on=False),
            Step("a pause", b"", wait_ms=100),
            # A round that was begun by somebody else may take its time, and the reader hears nothing meanwhile.
            Step("the question what it is", self._command(_INFO), answer=_INFO, attempts=5),
        ]
        self.converse(steps, now, self._configure)

    def goodbye(self) -> bytes:
        """A reader that reads by itself would go on for ever."""
        if not self._push:
            return b""
        return self._stop().send if self._dialect == 18 else self._real_time(on=False).send

    def _configure(self, now: Moment) -> None:
        steps = []
        dialect_18 = self._dialect == 18
        if dialect_18 and self._told_dialect is None:
            steps.append(self._stop())
        # An 18 writes each setting to its EEPROM, which wears out: only what changes is sent to it.
        power_dbm = self._power_dbm
        if power_dbm is not None and not (dialect_18 and power_dbm == self._its_power_dbm):
            data = power_dbm if dialect_18 else power_dbm | _NOT_SAVED
            steps.append(Step("the setting of its power", self._command(_POWER, bytes([data])), _POWER))
        if dialect_18 and self._told_scan_ms is not None and self._told_scan_ms != self._its_scan_ms:
            send = self._command(_SCAN_TIME, bytes([self._told_scan_ms // 100]))
            steps.append(Step("the setting of its scan time", send, _SCAN_TIME))
        if self._push and dialect_18:
            send = self._command(_WORK_MODE, _SCAN_MODE)
            steps.append(Step("the setting of its scan mode", send, _WORK_MODE))
        elif self._push:
            steps.append(self._real_time(on=True))
        self.converse(steps, now, self._start)

    def _start(self, now: Moment) -> None:
        self.ready = True
        if self._push:
            self._watch(now)
        else:
            self._next_round(now)

    def _stop(self) -> Step:
        send = self._command(_WORK_MODE, _ANSWER_MODE)
        return Step("the setting of its answer mode", send, _WORK_MODE, wait_ms=300, optional=True)

    def _real_time(self, *, on: bool) -> Step:
        send = self._command(_REAL_TIME, bytes([on]))
        if on:
            return Step("the setting of its real-time mode", send, _REAL_TIME)
        return Step("the end of its real-time mode", send, _REAL_TIME, wait_ms=300, optional=True)

    # --- reading ----------------------------------------------------------------------------------------------

    def alarm(self, name: str, now: Moment, reads: list[Read]) -> None:
        """A round was not answered, a pause is over, or it said nothing by itself for long."""
        if name == "round":
            self._miss("the reader stopped answering: check its power supply and its cable", now)
        elif name == "pause":
            self._next_round(now)
        elif self.conversing:
            self._watch(now)
        else:
            ask = Step("the question whether it is there", self._command(_INFO), _INFO, wait_ms=1000)
            self.converse([ask], now, self._watch)

    def feedback(self, outcome: Outcome, now: Moment) -> None:
        """Beep and light after the round that runs: one at the most waits. A 288 that reads by itself cannot."""
        if not (self._beeps and self.ready) or (self._push and self._dialect != 18):
            return
        order = [None, *_BEEPS]
        self._pending = max(self._pending, outcome, key=order.index)
        if self._push and not self.conversing:
            self._beep(now)

    def _next_round(self, now: Moment) -> None:
        """Nothing is under way: beep if somebody waits for it, then ask for a round."""
        if self._pending is None:
            self._ask(now)
        else:
            self._beep(now)

    def _beep(self, now: Moment) -> None:
        assert self._pending is not None
        times = _BEEPS[self._pending]
        self._pending = None
        wait_ms = (times[0] + times[1]) * times[2] * _BEEP_UNIT_MS + _LATE_MS
        send = self._command(_BEEP, bytes(times))
        step = Step("a beep", send, _BEEP, wait_ms=wait_ms, attempts=1, optional=True)
        self.converse([step], now, self._after_beep if self._push else self._ask)

    def _after_beep(self, now: Moment) -> None:
        self._watch(now)
        if self._pending is not None:
            self._beep(now)

    def _ask(self, now: Moment) -> None:
        options = b""
        if self._dialect != 18:
            where_and_how_long = bytes([0x7F + self._antennas[self._turn], self._round_ms() // 100])
            options = self._round_options + where_and_how_long
        self.send(self._command(_INVENTORY, options))
        self._wait_for_round(now)

    def _round_ms(self) -> int:
        return self._told_scan_ms or (self._its_scan_ms if self._dialect == 18 else _SCAN_288_MS)

    def _wait_for_round(self, now: Moment) -> None:
        self.set_alarm("round", self._round_ms() + _LATE_MS, now)

    def _watch(self, now: Moment) -> None:
        self.set_alarm("silence", _SILENCE_MS, now)

    def _miss(self, fault: str, now: Moment) -> None:
        """Ask again, on the same antenna, but not for ever."""
        self.clear_alarm("round")
        self._misses += 1
        if self._misses > _MOST_MISSES:
            self.fault = fault
        else:
            self._ask(now)

    # --- frames -----------------------------------------------------------------------------------------------

    def measure(self, data: bytes, at: int) -> int:
        """Command and status, length, address, the lengths of the tags, and last the CRC."""
        place = _PLACE.search(data, at)
        left = len(data) - at
        if place is None:
            return _HEAD - 1 - left if left >= _HEAD else 0
        if place.start() > at:
            return at - place.start()
        low, high = _LENGTHS[data[at + 2], data[at + 3]]
        if not low <= data[at] <= high or (self._address is not None and data[at + 1] != self._address):
            return -1
        size = data[at] + 1
        if left < size:
            return 0
        frame = data[at : at + size]
        return size if self._adds_up(frame) and crc_mcrf4xx(frame) == 0 else -1

    def frame(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        """A round's answer, a tag that it pushed, or an answer to what it was asked or told."""
        command, status = frame[2], frame[3]
        if "silence" in self._alarms:
            self._watch(now)
        if command == _INVENTORY:
            self._answered(frame, now, reads)
        elif command == _PUSHED:
            self._take_tags(frame, now, reads)
            if self.ready:
                self.heard(_INFO, now)  # it is there, which is what it may have been asked
        elif status == _UNKNOWN_COMMAND:
            self._not_understood(now)
        else:
            if command == _INFO:
                self._identified(frame)
            elif command in _SETTINGS:
                what = _SETTINGS[command]
                refusal = (
                    f"the reader did not take its {what} (status {status:02X}): check the port's options"
                )
                self._note(what, None if status == _DONE else refusal)
            self.heard(command, now)

    def _identified(self, frame: bytes) -> None:
        # Firmware (2 bytes), type, protocols, upper and lower frequency, power, scan time.
        name, dialect = _TYPES.get(frame[6], (f"Chafon type {frame[6]:02X}", 288))
        self.model = f"{name} {frame[4]}.{frame[5]:02d}"
        self._dialect = self._told_dialect or dialect
        self._its_power_dbm, self._its_scan_ms = frame[10], frame[11] * 100 or _SCAN_18_MS
        if self.conversing:  # in a recording, others may speak after it
            self._address = frame[1]

    def _not_understood(self, now: Moment) -> None:
        """Which command it was is not said: a round's, or one that it need not have (an 18 has no real-time mode)."""
        if "round" in self._alarms:
            self._miss("the reader does not know the command for a round: set model=18 or model=288", now)
        elif self._dialogue is not None and self._dialogue.step is not None and self._dialogue.step.optional:
            self.heard(self._dialogue.step.answer, now)

    def _answered(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        status = frame[3]
        if status <= 0x04:
            self._take_tags(frame, now, reads)
        # What has not left us yet, nobody has answered: this one answers an earlier question, a second time or late.
        if "round" not in self._alarms or status == _STATISTICS or self._output:
            return
        if status == _MORE:
            self._wait_for_round(now)
        elif status in _REFUSED:
            refusal = f"the reader refuses rounds (status {status:02X}): check model=, antennas= and session="
            self._miss(refusal, now)
        else:
            self.clear_alarm("round")
            was_away, self._misses = self._misses > 0, 0
            antenna = f"antenna {self._antennas[self._turn]}"
            trouble = _TROUBLES.get(status)
            self._note(antenna, trouble and f"{antenna} {trouble}")
            self._turn = (self._turn + 1) % len(self._antennas)
            if was_away and self._dialect != 18:
                self._configure(now)  # it may have been without power, and what is not saved is lost
            elif status in _OVER:
                self._next_round(now)
            else:
                self.set_alarm("pause", _PAUSE_MS, now)

    def _note(self, what: str, trouble: str | None) -> None:
        """Remember that something is wrong, or that it is not any more."""
        if trouble is not None:
            self._wrong[what] = trouble
        else:
            self._wrong.pop(what, None)
        self.warning = "; ".join(self._wrong.values()) or None

    # --- tags -------------------------------------------------------------------------------------------------

    def _adds_up(self, frame: bytes) -> bool:
        """Whether the tags of this frame, if it has any, fill it exactly. Leaves them for `frame`, which is next."""
        command, status = frame[2], frame[3]
        if command == _INVENTORY and status <= 0x04:
            self._found = self._in_round(frame)
        elif command == _PUSHED and status == _DONE:
            self._found = self._in_push(frame)
        else:
            self._found = None, ()
        return self._found is not None

    def _in_round(self, frame: bytes) -> _Found | None:
        if self._dialect != 18 and (entries := _entries(frame, 5, 1)) is not None:
            return frame[4], entries
        if self._dialect != 288 and (entries := _entries(frame, 4, 0)) is not None:
            return None, entries
        return None

    def _in_push(self, frame: bytes) -> _Found | None:
        """The entry of a 288; of an 18, the EPC alone, whose length must be put in front of it."""
        data = frame[4:-2]
        if self._dialect != 18 and _is_entry(data[1], len(data) - 3):
            return data[0], (data[1:],)
        if self._dialect != 288 and _is_entry(len(data), len(data)):
            return None, (bytes([len(data)]) + data,)
        return None

    def _take_tags(self, frame: bytes, now: Moment, reads: list[Read]) -> None:
        assert self._found is not None, "measure lets nothing through that does not add up"
        antennas, entries = self._found
        for entry in entries:
            reads.append(self._tag(frame if len(entries) == 1 else entry, entry, antennas, now))

    def _tag(self, raw: bytes, entry: bytes, antennas: int | None, now: Moment) -> Read:
        """Of an entry: length, EPC, perhaps TID; where antennas are told, signal strength, too (no unit is known)."""
        end = 1 + (entry[0] & ~_TID_INCLUDED)
        epc_end = end - _TID_BYTES if entry[0] & _TID_INCLUDED else end
        tid = entry[epc_end:end] or None
        # One bit an antenna. Two bits: it was not one of them.
        antenna = antennas.bit_length() if antennas and antennas & (antennas - 1) == 0 else None
        rssi = None if antennas is None else entry[end]
        return TagRead(
            self.device,
            raw,
            entry[1:epc_end],
            now.unix_s,
            now.monotonic_ns,
            antenna,
            None,
            rssi,
            tid=tid,
        )

    def _command(self, command: int, data: bytes = b"") -> bytes:
        address = _BROADCAST if self._address is None else self._address
        body = bytes([len(data) + 4, address, command]) + data
        return body + crc_mcrf4xx(body).to_bytes(2, "little")


def _is_entry(length: int, there_bytes: int) -> bool:
    """Whether this is the length of an EPC (with its TID, perhaps) that fills so many bytes."""
    size = length & ~_TID_INCLUDED
    epc_bytes = size - _TID_BYTES if length & _TID_INCLUDED else size
    return size == there_bytes and size % 2 == 0 and 0 < epc_bytes <= _LONGEST_EPC


def _entries(frame: bytes, at: int, tail_bytes: int) -> list[bytes] | None:
    """The entries behind the number of them at this place; None, if they do not fill the frame exactly."""
    entries = []
    count, at, end = frame[at], at + 1, len(frame) - 2
    for _ in range(count):
        if at >= end:
            return None
        size = frame[at] & ~_TID_INCLUDED
        if not _is_entry(frame[at], size):
            return None
        after = at + 1 + size + tail_bytes
        entries.append(frame[at:after])
        at = after
    return entries if at == end else None
