"""A second opinion that answers what nobody can read."""

from devices.child import Parent

ANSWERS = [b"", b"\xff\xfe", b"7", b'[["QRCODE", "unasked", []]]', b'[["EAN13"]]']


def main(parent: Parent) -> None:
    """In the child."""
    parent.wait()
    parent.answer(b"")
    while True:
        number = parent.wait()[-1]
        parent.answer(ANSWERS[number])
