"""What is done with a picture: from grey levels to the codes in it.

The one idea: look once, fast; look closer only where something is and nothing was read; and believe a linear code
when enough scan lines or two different looks agree, because its check digit lets one error in ten through.

Nothing here opens a camera or a file. All is computed from the pixels and the time that come in, except for
`second_opinion`, which asks another library in a process of its own.
"""

import time
from collections.abc import Sequence

from devices.vision.decoder import BUDGET_MS, WHOLE, Decoder
from devices.vision.second_opinion import SecondOpinion


def build_decoder(
    wanted: Sequence[str], *, budget_ms: int = BUDGET_MS, roi: tuple[int, int, int, int] = WHOLE
) -> Decoder:
    """What a camera has: by the machine's clock, with a second opinion."""
    return Decoder(
        wanted,
        budget_ms=budget_ms,
        roi=roi,
        second_opinion=SecondOpinion(wanted, clock_ns=time.monotonic_ns),
        clock_ns=time.monotonic_ns,
    )
