"""What can be set of the smoothing: `[smoothing]` in agent.toml for all places, `[[places]]` for one of them."""

from typing import Final

from pydantic import Field

from service.config import Section

MOST_READINGS: Final = 100


class Parameters(Section):
    """Every number that decides, with its unit. Levels are dBm as the reader tells them."""

    believe_reads: int = Field(
        2, ge=1, le=100, description="A tag is believed when it was read so often within believe_within_ms."
    )
    believe_within_ms: int = Field(5_000, ge=1, le=600_000, description="See believe_reads.")
    strong_dbm: float | None = Field(
        -55.0,
        ge=-120,
        le=30,
        description="One read of at least this strength is enough to believe a tag; none: no read is.",
    )
    floor_dbm: float | None = Field(
        None,
        ge=-120,
        le=30,
        description="A weaker read is no evidence that a tag came or moved here; one that is here stays.",
    )
    dwell_ms: int = Field(
        0, ge=0, le=600_000, description="A tag must be read over at least this time before it is believed."
    )
    settle_ms: int = Field(
        500,
        ge=0,
        le=60_000,
        description="From its first read to its arrival, so that the place is the right one.",
    )
    readings: int = Field(
        20, ge=2, le=MOST_READINGS, description="So many strengths of a tag are averaged at each place."
    )
    move_reads: int = Field(
        2, ge=1, le=MOST_READINGS, description="A tag moves here only when it was read here so often."
    )
    move_margin_db: float = Field(
        6.0, ge=0, le=60, description="By so much must another place read a tag better than its present one."
    )
    move_hold_ms: int = Field(
        500, ge=0, le=600_000, description="Silent for so long, the present place defends its whole margin."
    )
    move_decay_db_per_s: float = Field(
        4.0, ge=0, le=1_000, description="Then the margin shrinks, and goes below zero."
    )
    move_floor_db: float = Field(-12.0, ge=-120, le=60, description="The margin never shrinks below this.")
    departed_s: int = Field(
        30, ge=1, le=86_400, description="A tag that nobody reads departs after this time at the earliest."
    )
    departed_most_s: int = Field(
        600,
        ge=1,
        le=86_400,
        description="And at the latest after this: one that stayed long is given as long as it stayed.",
    )
