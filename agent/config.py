"""agent.toml as values. Every mistake in it is reported at once, with its line (see `service.config`)."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from agent.smoothing import Parameters
from devices import registry
from devices.errors import Misconfigured
from service import config
from service.config import AgentId, ConfigPath, HttpSection, Mistakes, MqttSection, Section

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
"""Stands in page addresses, file names and logs: letters, digits, `.`, `_` and `-`, at most 64."""
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""A name as events may carry it (contract, "Events")."""
Antenna = Annotated[int, Field(ge=1, le=65_535)]
"""Counted from 1, as readers do."""


class AgentSection(Section):
    """`[agent]`: who this agent is and where it keeps what must not be lost."""

    id: AgentId = Field(description="The agent's own name, unique at central: a-z, 0-9 and -, at most 32.")
    site: Text = Field(description="The site it stands at, as central knows it.")
    data_dir: ConfigPath = Field(
        description="Directory of the journal and of what central sent. It needs a disk that keeps what was synced."
    )
    retention_days: float = Field(
        30,
        ge=0,
        le=3650,
        allow_inf_nan=False,
        description="How long the journal keeps what central has booked and backed up, in days of 24 hours that the"
        " agent ran. The newest 20,000 events stay in any case.",
    )

    @property
    def journal(self) -> Path:
        """Every scan, durable before anyone sees OK."""
        return self.data_dir / "journal.db"

    @property
    def reference(self) -> Path:
        """Items, locations, operators and open documents, as central last sent them."""
        return self.data_dir / "reference.json"

    @property
    def tasks(self) -> Path:
        """Pick tasks, as central last sent them."""
        return self.data_dir / "tasks.json"

    @property
    def stations(self) -> Path:
        """What was chosen at each station, one file each."""
        return self.data_dir / "stations"

    @property
    def tags(self) -> Path:
        """Which tags were in view, and where."""
        return self.data_dir / "tags.json"

    @property
    def images(self) -> Path:
        """Which images each camera has read, one file each."""
        return self.data_dir / "images"


class LogSection(Section):
    """`[log]`: what is logged, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least to be logged.")
    json_lines: bool | None = Field(
        None,
        alias="json",
        description="One JSON object per line. Left out: text on a terminal, else JSON.",
    )


class DeviceSection(Section):
    """`[[devices]]`: one reader or camera."""

    name: Name = Field(description="What people and events call it.")
    driver: str = Field(description="What it speaks, for example text-line.")
    port: str = Field(description="Where it is, for example serial:///dev/serial/by-id/usb-…?baud=9600.")
    gs1_anywhere: bool = Field(
        False,
        description="Its codes hold GS1 element strings also where no AIM id says so:"
        " true for scanners that cannot send AIM ids.",
    )


class StationSection(Section):
    """`[[stations]]`: one place where a person works, with its page."""

    name: Name = Field(description="Stands in the address of its page.")
    devices: tuple[str, ...] = Field(description="The names of the devices that scan for it.")
    workflow: Literal["receive", "pick", "gate"] = Field(description="What a scan means here.")
    location: Text = Field(description="Where goods are booked until a location label is scanned.")
    operator: Text | None = Field(None, description="Who works here until a badge is scanned.")
    guard_ms: int = Field(
        400, ge=0, le=60_000, description="The same code from the same device within this time is skipped."
    )
    passage_s: int = Field(
        5,
        ge=1,
        le=600,
        description="gate: what passes without a pause of so long is one passage, and is counted together.",
    )
    confirm_location: bool = Field(
        True,
        description="pick: the label of a location must be scanned before its items."
        " Set it to false where locations have no labels.",
    )


class PlaceSection(Parameters):
    """`[[places]]`: one place that antennas can tell from others. What it says of `[smoothing]` is for it alone."""

    name: Name = Field(description="What events and people call it.")
    devices: tuple[str, ...] = Field(min_length=1, description="The names of the devices that hear it.")
    antennas: tuple[Antenna, ...] = Field(
        (), description="Which antennas of these devices; left out: all that are in no other place."
    )
    station: str | None = Field(
        None, description="The station that its tags come to; left out: the one that uses the devices."
    )
    side: Literal["outside", "inside"] | None = Field(
        None, description="Which side of the station's gate: what goes from outside to inside came in."
    )


class AgentConfig(Section):
    """agent.toml."""

    agent: AgentSection
    mqtt: MqttSection
    http: HttpSection
    log: LogSection = Field(default_factory=lambda: LogSection.model_validate({}))
    devices: tuple[DeviceSection, ...] = Field((), max_length=100)
    stations: tuple[StationSection, ...] = Field(min_length=1, max_length=100)
    smoothing: Parameters = Field(default_factory=lambda: Parameters.model_validate({}))
    places: tuple[PlaceSection, ...] = Field((), max_length=400)

    @model_validator(mode="wrap")
    @classmethod
    def _fits_together(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """What the tables say of each other is checked also when one of them is wrong in itself: all at once."""
        found = _misfits(data) if isinstance(data, dict) else []
        misfit: list[InitErrorDetails] = []
        if found:
            misfit = [{"type": "value_error", "loc": (), "input": None, "ctx": {"error": Mistakes(found)}}]
        try:
            value = handler(data)
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, [*_again(error), *misfit]) from None
        if misfit:
            raise ValidationError.from_exception_data(cls.__name__, misfit)
        return value


def load(path: Path) -> AgentConfig:
    """The file, checked.

    Raises:
        service.config.ConfigError: with every mistake in it.
    """
    return config.load(path, AgentConfig)


Found = list[tuple[tuple[str | int, ...], str]]


def _again(error: ValidationError) -> list[InitErrorDetails]:
    """The same complaints, to be raised together with others."""
    return [
        {"type": one["type"], "loc": one["loc"], "input": one["input"], "ctx": one.get("ctx", {})}
        for one in error.errors(include_url=False)
    ]


def _misfits(data: dict[str, Any]) -> Found:
    """Of tables that may be wrong in themselves: whatever has not the right form is passed over here."""
    devices, stations, places = (_tables(data, key) for key in ("devices", "stations", "places"))
    return [
        *_repeated("devices", devices),
        *_repeated("stations", stations),
        *_wrong_devices(devices),
        *_wrong_users(devices, stations),
        *_repeated("places", places),
        *_wrong_places(devices, stations, places),
    ]


Tables = list[tuple[int, dict[str, Any]]]


def _tables(data: dict[str, Any], key: str) -> Tables:
    tables = data.get(key)
    if not isinstance(tables, list):
        return []
    return [(place, table) for place, table in enumerate(tables) if isinstance(table, dict)]


def _repeated(key: str, tables: Tables) -> Found:
    found: Found = []
    names: set[str] = set()
    for place, table in tables:
        name = table.get("name")
        if isinstance(name, str) and name in names:
            found.append(((key, place, "name"), f"{name!r} is used twice; give each its own name"))
        if isinstance(name, str):
            names.add(name)
    return found


def _wrong_devices(devices: Tables) -> Found:
    found: Found = []
    takers: dict[tuple[object, ...], str] = {}
    for place, device in devices:
        name, driver, port = (device.get(key) for key in ("name", "driver", "port"))
        if not (isinstance(driver, str) and isinstance(port, str)):
            continue
        try:
            setup = registry.set_up(str(name), driver, port)
        except Misconfigured as problem:
            key = "port" if driver in registry.DRIVERS else "driver"
            found.append((("devices", place, key), str(problem)))
            continue
        if registry.DRIVERS[driver].tags and device.get("gs1_anywhere"):
            text = f"device {name!r} reads tags, which hold no element strings: leave gs1_anywhere out"
            found.append((("devices", place, "gs1_anywhere"), text))
        if setup.replays:
            text = (
                f"device {name!r}: an agent would play this recording, and count what is in it, at every start; "
                "look at it with `tallyman read`"
            )
            found.append((("devices", place, "port"), text))
        where = setup.port
        source = (where.scheme, where.path, where.host, where.number, where.options.get("topic"))
        if takers.setdefault(source, str(name)) != str(name):
            text = f"device {name!r}: {takers[source]!r} is at this port already; each device has a port of its own"
            found.append((("devices", place, "port"), text))
    return found


def _wrong_users(devices: Tables, stations: Tables) -> Found:
    """Each device scans for exactly one station: what it reads must mean one thing and be shown somewhere."""
    found: Found = []
    names = list(dict.fromkeys(str(device.get("name")) for _, device in devices))
    users: dict[str, str] = {}
    for place, station in stations:
        used = station.get("devices")
        for position, name in enumerate(used if isinstance(used, list) else ()):
            where = ("stations", place, "devices", position)
            if name not in names:
                known = f"there are {', '.join(names)}" if names else "there are none"
                found.append((where, f"there is no device {name!r} in [[devices]]; {known}"))
            elif name in users:
                found.append((where, f"device {name!r} scans for station {users[name]!r} already"))
            users.setdefault(str(name), str(station.get("name")))
    for place, device in devices:
        name = device.get("name")
        if isinstance(name, str) and name not in users:
            text = f"no station uses {name!r}; add it to devices of a station"
            found.append((("devices", place, "name"), text))
    return found


def _wrong_places(devices: Tables, stations: Tables, places: Tables) -> Found:
    """Each antenna hears one place, of a station that there is."""
    found: Found = []
    drivers = {str(device.get("name")): device.get("driver") for _, device in devices}
    names = [str(station.get("name")) for _, station in stations]
    takers: dict[tuple[str, int | None], str] = {}
    for at, place in places:
        name, station = str(place.get("name")), place.get("station")
        if isinstance(station, str) and station not in names:
            text = f"there is no station {station!r} in [[stations]]; there are {', '.join(names)}"
            found.append((("places", at, "station"), text))
        numbers = [antenna for antenna in _listed(place, "antennas") if isinstance(antenna, int)]
        for position, device in enumerate(_listed(place, "devices")):
            where = ("places", at, "devices", position)
            problem = _no_ear(str(device), drivers, bool(numbers))
            if problem:
                found.append((where, problem))
            for antenna in numbers or (None,):
                taker = takers.setdefault((str(device), antenna), name)
                if taker != name:
                    which = "without antennas" if antenna is None else f"antenna {antenna}"
                    text = f"device {device!r}, {which}, hears place {taker!r} already"
                    found.append((where, text))
    return [*found, *_wrong_names(places, drivers, takers), *_wrong_sides(stations, places)]


def _listed(table: dict[str, Any], key: str) -> list[Any]:
    value = table.get(key)
    return value if isinstance(value, list) else []


def _no_ear(device: str, drivers: dict[str, Any], by_antenna: bool) -> str:
    """Why no place can be heard by this device; empty: one can."""
    if device not in drivers:
        known = f"there are {', '.join(drivers)}" if drivers else "there are none"
        return f"there is no device {device!r} in [[devices]]; {known}"
    entry = registry.DRIVERS.get(str(drivers[device]))
    if entry is None:
        return ""
    if not entry.tags or entry.cards:
        return f"device {device!r} reads no tags with an EPC; places are for readers of these"
    if by_antenna and not entry.antennas:
        return f"device {device!r} does not tell which antenna heard a tag: leave antennas out"
    return ""


def _wrong_names(places: Tables, drivers: dict[str, Any], takers: dict[tuple[str, int | None], str]) -> Found:
    """A device of which a place is left is that place, by its own name."""
    return [
        (
            ("places", at, "name"),
            f"{name!r} is what device {name!r} hears elsewhere; give the place another name",
        )
        for at, place in places
        if (name := str(place.get("name"))) in drivers and (name, None) not in takers
    ]


def _wrong_sides(stations: Tables, places: Tables) -> Found:
    """What is outside of a gate must be able to come in; and only a gate has sides."""
    found: Found = []
    users = {str(device): station for _, station in stations for device in _listed(station, "devices")}
    by_name = {str(station.get("name")): station for _, station in stations}
    sides: dict[str, set[object]] = {}
    sided: list[tuple[int, str]] = []
    for at, place in places:
        of = [by_name.get(str(place["station"]))] if "station" in place else []
        of = of or [users.get(str(device)) for device in _listed(place, "devices")]
        stations_of = {str(station.get("name")): station for station in of if station is not None}
        if len(stations_of) > 1:
            text = f"stations {' and '.join(stations_of)} use its devices; say whose the place is"
            found.append((("places", at, "station"), text))
        for name, station in stations_of.items():
            if place.get("side") is None:
                continue
            sides.setdefault(name, set()).add(place["side"])
            sided.append((at, name))
            if station.get("workflow") != "gate":
                text = f"station {name!r} is no gate, and has no sides; leave side out"
                found.append((("places", at, "side"), text))
    for at, name in sided:
        if sides[name] == {"outside"}:
            text = f"no place of station {name!r} is inside: nothing would ever come in"
            found.append((("places", at, "side"), text))
    return found
