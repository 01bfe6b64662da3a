"""One driver under atheris: `python -m tests.fuzz.target DRIVER [libFuzzer's arguments]`."""

import sys

import atheris

with atheris.instrument_imports(include=["devices", "identity"]):
    from devices.registry import DRIVERS, set_up

    for _name, _entry in DRIVERS.items():
        if not _entry.images and _name == sys.argv[1]:
            set_up(_name, _name, "file:///recording")  # imports the driver, instrumented

from tests.fuzz.play import Player


def main() -> None:
    name = sys.argv.pop(1)
    player = Player(name)
    atheris.Setup(sys.argv, player.play)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
