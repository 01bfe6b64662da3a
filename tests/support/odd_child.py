"""A process for `devices.child` that does what it is asked to, also what none should."""

import os
import signal
import sys
import time

from devices.child import Parent


def main(parent: Parent) -> None:
    while True:
        request = parent.wait()
        match request:
            case b"hang":
                time.sleep(3600)
            case b"crash":
                os.abort()
            case b"give up":
                raise ValueError("nobody at http://ada:secret@camera.example/\x1b[2J")
            case b"flood":
                for _ in range(100_000):
                    print("[x264 @ 0x1f] one more warning", file=sys.stderr)
                print("written to standard output by a library")
                parent.answer(b"still here")
            case b"nonsense":
                parent._answers.write(b"\xff\xff\xff\xff")
                parent._answers.flush()
            case b"deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                parent.answer(str(os.getpid()).encode())
                time.sleep(3600)
            case _:
                parent.answer(request[::-1])
