"""From sightings to what happened: see `agent.smoothing.smoother`."""

from agent.smoothing.kept import Kept, keep, restore
from agent.smoothing.parameters import Parameters
from agent.smoothing.smoother import MOST_TAGS, Smoother
from agent.smoothing.values import NS_PER_MS, Change, Direction, Kind, Place, Side

__all__ = [
    "MOST_TAGS",
    "NS_PER_MS",
    "Change",
    "Direction",
    "Kept",
    "Kind",
    "Parameters",
    "Place",
    "Side",
    "Smoother",
    "keep",
    "restore",
]
