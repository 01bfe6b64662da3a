"""Port URLs of devices on the network: what they need, what does not go together, and that no secret is shown."""

import json

import pytest

from devices.errors import Misconfigured
from devices.ports.url import shown
from devices.registry import set_up
from tests.support.drivers import Bench, build

SECRETS = [
    "https://root:hunter2@reader.example",
    "https://root:hunter2@reader.example:99999",
    "https://root:hun@hunter2@reader.example/?start=no",
    "https://root:hunter2#x@reader.example",
    "https://root:hunter2/x@reader.example",
    "https://root:hunter2?x@reader.example",
    "HTTPS://root:hunter2@reader.example",
    "https:/root:hunter2@reader.example",
    "htps://root:hunter2@reader.example",
    "root:hunter2@reader.example",
    "https://root:hunter2@reader.example\n",
    "https://reader.example?user=root&password=hunter2",
    "https://reader.example?user=root&Passwd=hunter2&start=perhaps",
    "https://reader.example?api_token=hunter2",
    "https://reader.example?password=hunter2#",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    assert "hunter2" not in shown(url)
    with pytest.raises(Misconfigured) as refused:
        set_up("gate", "impinj-r700", url)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(Misconfigured) as refused:
        set_up("gate", "zebra-iotc", url.replace("https", "mqtts").replace("HTTPS", "MQTTS"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", [SECRETS[0], SECRETS[11]])
def test_who_puts_a_secret_into_a_url_is_told_where_it_belongs(url: str) -> None:
    with pytest.raises(Misconfigured, match="password_file="):
        set_up("gate", "impinj-r700", url)


@pytest.mark.parametrize(
    "url",
    [
        "serial:///dev/serial/by-id/usb-a@b?baud=9600",
        "file:///tmp/a@b",
        "tcp://reader.example:14150?silent_s=5",
    ],
)
def test_other_urls_are_shown_as_they_are(url: str) -> None:
    assert shown(url) == url


LOGIN = "user=root&password_file=/etc/reader.password"


@pytest.mark.parametrize(
    ("driver", "url", "complaint"),
    [
        ("impinj-r700", "https://reader.example?user=root", "belong together"),
        ("impinj-r700", "https://reader.example?password_file=/x", "belong together"),
        ("impinj-r700", f"http://reader.example?{LOGIN}", "plain=yes"),
        ("impinj-r700", "http://reader.example?verify=no", "unknown option 'verify'"),
        ("impinj-r700", "https://reader.example?verify=no&ca_file=/x", "no use"),
        ("impinj-r700", "https://reader.example?ca_file=x/y", "whole path"),
        ("impinj-r700", "https://reader.example/api", "no path"),
        ("impinj-r700", "https://", "a host"),
        ("impinj-r700", "https://reader.example:0", "a host"),
        ("impinj-r700", "mqtts://broker.example?topic=x", "not from mqtts"),
        ("zebra-iotc", "mqtt://broker.example", "needs topic="),
        ("zebra-iotc", "mqtt://broker.example?topic=", "topic"),
        ("zebra-iotc", "mqtt://broker.example?topic=a%23", "stand alone"),
        ("zebra-iotc", "mqtt://broker.example?topic=%23/a", "stand alone"),
        ("zebra-iotc", "mqtt://broker.example?topic=a+/b", "stand alone"),
        ("zebra-iotc", "mqtt://broker.example?topic=a%00b", "topic"),
        ("zebra-iotc", "mqtt://broker.example?topic=a/#", "%23"),
        ("zebra-iotc", f"mqtt://broker.example?topic=a&{LOGIN}", "plain=yes"),
        ("zebra-iotc", "mqtts://broker.example?topic=a&cert_file=/x", "belong together"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_opened(driver: str, url: str, complaint: str) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        set_up("gate", driver, url)


@pytest.mark.parametrize(
    ("driver", "url", "host", "number"),
    [
        ("impinj-r700", f"https://reader.example?{LOGIN}", "reader.example", 443),
        ("impinj-r700", f"http://reader.example?{LOGIN}&plain=yes", "reader.example", 80),
        ("impinj-r700", "https://[2001:db8::7]:8443?verify=no", "2001:db8::7", 8443),
        (
            "impinj-r700",
            "https://reader.example?user=root&password_file=reader.password",
            "reader.example",
            443,
        ),
        ("zebra-iotc", "mqtt://broker.example?topic=readers/+/tags", "broker.example", 1883),
        ("zebra-iotc", f"mqtts://broker.example?topic=readers/%23&{LOGIN}", "broker.example", 8883),
    ],
)
def test_what_can_work(driver: str, url: str, host: str, number: int) -> None:
    port = set_up("gate", driver, url).port
    assert (port.host, port.number) == (host, number)


def test_a_plus_in_a_topic_is_a_wildcard_and_no_space() -> None:
    assert set_up("gate", "zebra-iotc", "mqtt://b?topic=a/+/b/%23").options["topic"] == "a/+/b/#"


HOSTILE = [None, True, -1, 10**40, 1.5e308, "", "x" * 300, "\x00", [], {}, [[1]], {"a": {}}]
MEMBERS = {
    "impinj-r700": (
        "epc",
        "tid",
        "tidHex",
        "pc",
        "antennaPort",
        "peakRssiCdbm",
        "frequency",
        "phaseAngle",
        "lastSeenTime",
    ),
    "zebra-iotc": (
        "MAC",
        "antenna",
        "eventNum",
        "peakRssi",
        "reads",
        "PC",
        "TID",
        "phase",
        "channel",
        "tagData",
        "symbology",
    ),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_no_value_of_any_member_raises_or_hides_the_tag(name: str) -> None:
    bench = Bench(build(name, {"duplicates": "keep"} if name == "zebra-iotc" else {}))
    lists = 0
    for member in MEMBERS[name]:
        for value in HOSTILE:
            if name == "impinj-r700":
                event: dict[str, object] = {"tagInventoryEvent": {"epcHex": "E2801160", member: value}}
            else:
                event = {"data": {"idHex": "E2801160", member: value}}
            before = len(bench.reads)
            bench.feed(json.dumps({**event, "timestamp": value}).encode() + b"\n")
            tags = [
                read
                for read in bench.reads[before:]
                if getattr(read, "epc", None) == bytes.fromhex("e2801160")
            ]
            lists += member == "tagData" and not tags
            assert tags or member == "tagData"
    assert lists == (len(HOSTILE) - 3 if name == "zebra-iotc" else 0), (
        "tagData that is no list spoils its event"
    )
