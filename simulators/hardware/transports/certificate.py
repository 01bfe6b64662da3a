"""A certificate that its own key signed, as readers have when they come out of the box; made by openssl(1)."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from simulators.hardware.transports import Refused

_DAYS = 30
_MAKE_S = 30


class Certificate:
    """For `localhost` and 127.0.0.1; gone with its files when it is closed."""

    def __init__(self, names: str = "DNS:localhost,IP:127.0.0.1") -> None:
        program = shutil.which("openssl")
        if program is None:
            raise Refused(
                "a certificate is made by the openssl program, which is not here: install openssl, or use http:"
            )
        self._directory = Path(tempfile.mkdtemp(prefix="tallyman-certificate-"))
        self.file, self.key = self._directory / "cert.pem", self._directory / "key.pem"
        wanted = f"""req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days {_DAYS}
            -keyout {self.key} -out {self.file} -subj /CN=simulated-reader -addext subjectAltName={names}"""
        made = subprocess.run(  # noqa: S603 - nothing of it comes from outside
            [program, *wanted.split()],
            capture_output=True,
            text=True,
            timeout=_MAKE_S,
            check=False,
        )
        if made.returncode:
            self.close()
            raise Refused(f"openssl makes no certificate: {made.stderr.strip()[-200:]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self._directory, ignore_errors=True)
