"""The places of a configuration: what each antenna hears, with its parameters."""

from collections.abc import Iterator

from agent.config import AgentConfig, PlaceSection
from agent.smoothing import Parameters, Place
from devices import registry


def places(settings: AgentConfig) -> tuple[Place, ...]:
    """Those of `[[places]]`, and one for what is left of each reader of tags, named like it."""
    users = {device: station.name for station in settings.stations for device in station.devices}
    named = tuple(_place(section, users, settings.smoothing) for section in settings.places)
    return (*named, *_others(settings, users, {ear for place in named for ear in place.antennas}))


def _place(section: PlaceSection, users: dict[str, str], defaults: Parameters) -> Place:
    own = section.model_fields_set & Parameters.model_fields.keys()
    return Place(
        section.name,
        section.station or users[section.devices[0]],
        tuple((device, antenna) for device in section.devices for antenna in section.antennas or (None,)),
        section.side,
        defaults.model_copy(update={name: getattr(section, name) for name in own}),
    )


def _others(
    settings: AgentConfig, users: dict[str, str], heard: set[tuple[str, int | None]]
) -> Iterator[Place]:
    for device in settings.devices:
        entry = registry.DRIVERS[device.driver]
        if entry.tags and not entry.cards and (device.name, None) not in heard:
            yield Place(device.name, users[device.name], ((device.name, None),), None, settings.smoothing)
