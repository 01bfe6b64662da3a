"""What can be set of the smoothing: `[smoothing]` in agent.toml for all places, `[[places]]` for one of them."""

from typing import Final

from pydantic import Field

from service.config import Section

MOST_READINGS: Final = 100
MOST_COUNTED: Final = 100  # reads that make a tag believed


class Parameters(Section):
    """Every number that decides, with its unit. Levels are dBm as the reader tells them.

    How a tag comes to a place is decided by that place's numbers; how it leaves one, by those of the one it leaves.
    """

    believe_reads: int = Field(
        2,
        ge=1,
        le=MOST_COUNTED,
        description="A tag is believed when it was read so often within believe_within_ms.",
    )
    believe_within_ms: int = Field(5_000, ge=1, le=600_000, description="See believe_reads.")
    strong_dbm: float = Field(
        -55.0,
        ge=-120,
        le=30,
        description="One read of at least this strength is enough, and needs no settling.",
    )
    floor_dbm: float = Field(
        -120.0,
        ge=-120,
        le=30,
        description="A weaker read is no evidence that a tag came or moved here; one that is here stays.",
    )
    dwell_ms: int = Field(
        0, ge=0, le=600_000, description="A tag must be read over at least this time before it is believed."
    )
    settle_ms: int = Field(
        1_000,
        ge=0,
        le=60_000,
        description="Where several places compete, a tag arrives when it came no nearer for so long.",
    )
    readings: int = Field(
        20, ge=3, le=MOST_READINGS, description="So many strengths of a tag are kept for each place, at most."
    )
    move_reads: int = Field(
        2, ge=1, le=MOST_READINGS, description="A tag moves here only after so many glances at it from here."
    )
    move_margin_db: float = Field(
        6.0, ge=0, le=60, description="By so much must another place hear a tag better than its present one."
    )
    move_hold_gaps: float = Field(
        2.0,
        ge=0,
        le=1_000,
        description="Silent for so many of its usual gaps, a place keeps its whole margin.",
    )
    move_decay_db: float = Field(
        0.5, ge=0, le=1_000, description="With each further gap the margin shrinks by this, also below zero."
    )
    move_floor_db: float = Field(-20.0, ge=-120, le=60, description="The margin never shrinks below this.")
    move_tail_db: float = Field(
        15.0,
        ge=0,
        le=200,
        description="Reads that are weaker than a tag's best by more than this do not move it: it is far off.",
    )
    quiet_ms: int = Field(
        1_500,
        ge=0,
        le=600_000,
        description="Nobody reads it for so long: where it went is decided without margin.",
    )
    through_db: float = Field(
        26.0,
        ge=0,
        le=60,
        description="Read best at one side of a gate, then within this at the other: it went through.",
    )
    departed_s: int = Field(
        30, ge=1, le=86_400, description="A tag that nobody reads departs after this time at the earliest."
    )
    departed_stays: float = Field(
        4.0, ge=0, le=100, description="It is given so many times the time that it had stayed,"
    )
    departed_most_s: int = Field(600, ge=1, le=86_400, description="but never more than this.")
