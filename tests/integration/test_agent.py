"""The agent as a program: a real pseudo-terminal, a real journal, real HTTP, and SIGKILL."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
import zxingcpp

from simulators.hardware.device import Thing
from simulators.hardware.rig import Rig
from tests.e2e.foreign.central import Central
from tests.support.agents import LAMP_GS1, MILK, MILK_CASE, ROOT, SSCC, STRANGE, AgentProgram, pick, site
from tests.support.pictures import pour, symbol
from tests.support.tags import sgtin, sscc
from tests.support.wait import eventually


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProgram]:
    """One with a dock, a gate and an aisle for all tests here; broker and central are away."""
    program = AgentProgram(
        tmp_path_factory.mktemp("site") / "agent", {"dock": "receive", "gate": "receive", "aisle": "pick"}
    )
    program.know(site(), [pick("t1", "MILK", 2, "A-01"), pick("t2", "LAMP", 1, "B-02")])
    program.start()
    yield program
    program.close()


def test_it_works_without_broker_and_central(agent: AgentProgram):
    assert agent.scan("dock", "PO-1")["outcome"] == "ok"
    assert agent.scan("dock", "]E0" + MILK)["outcome"] == "ok"
    assert agent.scan("dock", STRANGE)["outcome"] == "ok"
    assert agent.scan("dock", SSCC)["outcome"] == "ok"
    assert agent.scan("dock", SSCC)["outcome"] == "duplicate"
    assert agent.scan("dock", "nonsense")["outcome"] == "reject"
    assert agent.scan("aisle", "A-01")["outcome"] == "ok"
    assert agent.scan("aisle", "]E0" + MILK)["outcome"] == "ok"
    assert agent.scan("aisle", LAMP_GS1)["outcome"] == "reject"
    state = agent.state("dock")
    assert [entry["code"] for entry in state["recorded"]] == [SSCC, STRANGE, MILK]
    assert (state["count"], state["status"]["online"]) == (3, False)
    assert state["status"]["queued"] >= 4
    assert "127.0.0.1" in state["status"]["reason"]
    assert agent.state("aisle")["job"]["left"] == 1


def test_what_was_ok_stands_after_kill_9(agent: AgentProgram):
    """The OK is taken from the event stream, and the process killed in the same breath."""
    for number in range(2):
        with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as page:
            page.sendall(b"GET /stations/gate/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            stream = page.makefile("rb")
            while not (line := stream.readline()).startswith(b"data:"):
                assert line
            code = f"]d2010952123454323721S{number}"
            agent.send("gate", code.encode() + b"\r\n")
            shown: dict[str, Any] = {}
            while shown.get("code") != code[3:]:
                line = stream.readline()
                assert line
                shown = (json.loads(line[5:]).get("last") or {}) if line.startswith(b"data:") else shown
            agent.kill()
        assert shown["outcome"] == "ok"
        agent.start()
        state = agent.state("gate")
        assert state["recorded"][0]["event_id"] == shown["event_id"] == state["before_restart"]["event_id"]
        assert state["recorded"][0]["code"] == code[3:]
        assert len(state["recorded"]) == state["count"] == number + 1
        eventually(lambda: agent.state("gate")["status"]["devices"][0]["status"] == "online")
        assert agent.scan("gate", code)["outcome"] == "duplicate", "and it is not counted twice"


def test_it_drains_to_central_and_shows_verdicts(broker, tmp_path: Path):
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"}, broker=broker.port)
    central = Central(broker.host, broker.port).start()
    try:
        program.know()
        program.start()
        program.scan("dock", MILK)
        eventually(lambda: program.state("dock")["recorded"][0]["verdict"] == "accepted", 15)
        eventually(lambda: program.state("dock")["status"]["queued"] == 0, 5)
        assert program.state("dock")["status"]["online"] is True
        broker.stop()
        eventually(lambda: not program.state("dock")["status"]["online"], 10)
        assert program.scan("dock", MILK)["outcome"] == "ok"
        assert program.state("dock")["status"]["queued"] == 1
        broker.start()
        eventually(lambda: program.state("dock")["status"]["queued"] == 0, 30)
        assert program.stop() == 0
    finally:
        program.close()
        central.stop()


def test_undo_and_documents_over_http(agent: AgentProgram):
    assert agent.post("/stations/dock/document", {"document": "PO-1"})[0] == 200
    scanned = agent.scan("dock", "]E0" + MILK)
    status, answer = agent.post("/stations/dock/undo", {"event_id": scanned["event_id"]})
    assert (status, answer["outcome"]) == (200, "ok")
    status, answer = agent.post("/stations/dock/undo", {"event_id": scanned["event_id"]})
    assert (status, answer["type"]) == (409, "urn:tallyman:problem:refused")
    assert json.loads(agent.get("/stations/dock/documents"))["documents"][0]["id"] == "PO-1"
    assert agent.post("/stations/dock/document", {"document": "nothing"})[0] == 409
    assert agent.post("/stations/dock/document", {"document": None})[0] == 200
    assert agent.state("dock")["document"] is None


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/stations/dock/undo", {}, {"Origin": "http://evil.example"}, 403),
        ("/stations/dock/undo", {}, {"Sec_Fetch_Site": "cross-site"}, 403),
        ("/stations/dock/undo", {}, {"Host": "evil.example"}, 421),
        ("/stations/dock/undo", {"event_id": "x" * 5000}, {}, 413),
        ("/stations/dock/undo", {"event": "x"}, {}, 422),
        ("/stations/dock/document", {}, {}, 422),
        ("/stations/dock/looked", {"token": -1}, {}, 422),
        ("/stations/nowhere/undo", {}, {}, 404),
    ],
)
def test_wishes_from_elsewhere_are_refused(
    agent: AgentProgram, path: str, body: Any, headers: dict[str, str], status: int
):
    before = agent.state("dock")["recorded"]
    found, answer = agent.post(path, body, **headers)
    assert (found, answer["status"]) == (status, status)
    assert agent.state("dock")["recorded"] == before


def test_pages_health_and_metrics(agent: AgentProgram):
    assert b"/stations/aisle" in agent.get("/")
    page = agent.get("/stations/dock")
    assert b"station.js" in page
    assert json.loads(agent.get("/healthz")) == {"status": "ok", "agent": "dock-2"}
    agent.scan("dock", MILK)
    metrics = agent.get("/metrics").decode()
    assert re.search(r'^tallyman_scans_total\{outcome="ok",station="dock"\} [1-9]', metrics, re.MULTILINE)
    assert re.search(r"^tallyman_journal_queued [1-9]", metrics, re.MULTILINE)


def test_garbage_on_the_wire_harms_nothing(agent: AgentProgram):
    agent.send("dock", os.urandom(20_000) + b"\r\n")
    eventually(lambda: agent.scan("dock", "]E0" + MILK)["outcome"] == "ok", 10)
    entry = agent.state("dock")["recorded"][0]
    assert entry["code"] == MILK


def test_a_damaged_reference_file_is_no_reason_to_stop(tmp_path: Path):
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"})
    try:
        program.know()
        (program.folder / "data" / "reference.json").write_bytes(b"{not json")
        program.start()
        assert program.scan("dock", "]E0" + MILK)["outcome"] == "ok"
        assert (program.folder / "data" / "reference.json.damaged").read_bytes() == b"{not json"
    finally:
        program.close()


@pytest.mark.parametrize("noted", [True, False])
def test_an_image_is_one_scan_however_often_the_agent_starts(tmp_path: Path, noted: bool):
    """Also when the agent died after it recorded the scan and before it noted that the image was read."""
    images = tmp_path / "images"
    images.mkdir()
    label = np.array(zxingcpp.create_barcode(MILK, zxingcpp.BarcodeFormat.EAN13).to_image(scale=4))
    label = cv2.copyMakeBorder(label, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=255)
    cv2.imwrite(str(images / "a.png"), label)
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"})
    with program.config.open("a") as config:
        config.write(
            f'[[devices]]\nname = "eye"\ndriver = "camera"\nport = "file://{images}"\n'
            '[[stations]]\nname = "belt"\ndevices = ["eye"]\nworkflow = "receive"\nlocation = "DOCK-1"\n'
        )
    notes = program.folder / "data" / "images" / "eye.jsonl"
    try:
        program.start()
        eventually(lambda: program.state("belt")["count"] == 1, 10)
        eventually(lambda: notes.exists() and b"a.png" in notes.read_bytes(), 10)
        program.kill()
        if not noted:
            notes.unlink()
        cv2.imwrite(str(images / "c.png"), label)  # arrives while it is away
        program.start()
        eventually(lambda: program.state("belt")["count"] == 2, 10)
        time.sleep(1)
        assert program.state("belt")["count"] == 2
    finally:
        program.close()


def test_a_dispute_finds_the_picture_in_which_a_code_was_read(tmp_path: Path):
    pipe, stills = tmp_path / "pipe", tmp_path / "stills"
    os.mkfifo(pipe)
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"})
    with program.config.open("a") as config:
        config.write(
            f'[[devices]]\nname = "eye"\ndriver = "camera"\nport = "camera://{pipe}?stills={stills}"\n'
            '[[stations]]\nname = "belt"\ndevices = ["eye"]\nworkflow = "receive"\nlocation = "DOCK-1"\n'
        )
    try:
        program.know()
        program.start()
        Thread(target=pour, args=(pipe, 75, symbol(MILK, "EAN13")), daemon=True).start()
        eventually(lambda: program.state("belt")["count"] == 1, 20)
        eventually(lambda: list(stills.glob("*.jpg")), 10)
    finally:
        program.close()
    with closing(sqlite3.connect(program.folder / "data" / "journal.db")) as journal:
        blobs = re.findall(r"X'([0-9A-F]+)'", "".join(journal.iterdump()))
    named = re.findall(rb'"still":"([^"]+)"', b"".join(map(bytes.fromhex, blobs)))
    assert named == [str(path).encode() for path in stills.iterdir()]
    assert [code.text for code in zxingcpp.read_barcodes(cv2.imread(named[0].decode()))] == [MILK]


def test_a_gate_counts_each_tag_once_and_says_how_its_reader_is(broker, tmp_path: Path):
    program = AgentProgram(tmp_path / "agent", {"dock": "receive"}, broker=broker.port)
    central = Central(broker.host, broker.port).start()
    with Rig("m100", f"pty:{tmp_path / 'gate'}") as rig:
        with program.config.open("a") as config:
            config.write(
                f'[[devices]]\nname = "gate"\ndriver = "m100"\nport = "{rig.url}"\n'
                f'[[devices]]\nname = "mute"\ndriver = "m100"\nport = "serial://{tmp_path / "mute"}"\n'
                '[[stations]]\nname = "door"\ndevices = ["gate", "mute"]\nworkflow = "receive"\n'
                'location = "DOCK-1"\n'
            )
        master, slave = os.openpty()
        (tmp_path / "mute").symlink_to(os.ttyname(slave))

        def devices() -> dict[str, dict[str, Any]]:
            return {each["name"]: each for each in program.state("door")["status"]["devices"]}

        try:
            program.know()
            program.start()
            eventually(lambda: devices()["gate"]["status"] == "online", 10)
            eventually(lambda: devices()["mute"]["status"] == "failed", 20)
            assert "no answer to the question for its version" in devices()["mute"]["reason"]
            tags = [sgtin(MILK_CASE, 1).hex(), sgtin(MILK_CASE, 2).hex(), sscc(SSCC).hex()]
            for _ in range(5):
                rig.see(*(Thing(epc=tag, rssi_dbm=-60) for tag in tags))
            assert rig.settle(10)
            eventually(lambda: program.state("door")["count"] == 3, 10)
            eventually(
                lambda: {entry["verdict"] for entry in program.state("door")["recorded"]} == {"accepted"}, 15
            )
            rig.unplug()
            eventually(lambda: devices()["gate"]["status"] == "failed", 10)
            rig.plug()
            eventually(lambda: devices()["gate"]["status"] == "online", 10)
            rig.see(Thing(epc=tags[0]), Thing(epc=sgtin(MILK, 3).hex()))
            eventually(lambda: program.state("door")["count"] == 4, 10)
            metrics = program.get("/metrics").decode()
            assert 'tallyman_device_reads_total{device="gate"} 17.0' in metrics
            assert 'tallyman_device_bad_frames_total{device="gate"} ' in metrics
            recorded = program.state("door")["recorded"]
        finally:
            program.close()
            central.stop()
            os.close(master)
            os.close(slave)
    assert [(entry["gtin"], entry["sscc"], entry["serial"], entry["quantity"]) for entry in recorded] == [
        (MILK.zfill(14), None, "3", 1),
        (None, SSCC, None, 1),
        (MILK_CASE, None, "2", 12),
        (MILK_CASE, None, "1", 12),
    ]


@pytest.mark.parametrize(
    ("driver", "recording"), [("text-line", "/recording"), ("camera", "/walk.mp4")], ids=["bytes", "film"]
)
def test_a_recording_is_no_device_of_an_agent(tmp_path: Path, driver: str, recording: str):
    config = tmp_path / "agent.toml"
    config.write_text(
        '[agent]\nid = "a"\nsite = "s"\ndata_dir = "d"\n[mqtt]\nurl = "mqtt://h"\n[http]\nlisten = ":0"\n'
        f'[[devices]]\nname = "old"\ndriver = "{driver}"\nport = "file://{recording}"\n'
        '[[stations]]\nname = "x"\ndevices = ["old"]\nworkflow = "receive"\nlocation = "D"\n'
    )
    status, said = run(config)
    assert status == 2
    assert ":12:" in said and "at every start" in said and "tallyman read" in said


def run(config: Path) -> tuple[int, str]:
    """(exit status, what it says) of an agent that does not come up."""
    done = subprocess.run(
        [sys.executable, "-m", "tallyman", "agent", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_second_agent_on_the_same_journal_refuses_to_start(agent: AgentProgram):
    config = agent.folder / "second.toml"
    config.write_text(agent.config.read_text().replace(f":{agent.port}", ":0"))
    status, said = run(config)
    assert status == 1
    assert "another agent is using this journal" in said
    assert "Traceback" not in said


def test_a_port_in_use_is_said(agent: AgentProgram):
    config = agent.folder / "second.toml"
    config.write_text(agent.config.read_text().replace('/data"', '/other"'))
    status, said = run(config)
    assert status == 1
    assert "[http] listen" in said


def test_every_mistake_in_the_configuration_at_once(tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text(
        """\
[agent]
id = "Dock 2"
site = "lej1"
data_dir = "data"
guard = 5
[mqtt]
url = "http://broker"
[http]
listen = "8481"
[[devices]]
name = "scanner-1"
driver = "text-lines"
port = "serial:///dev/ttyUSB0"
[[devices]]
name = "scanner-1"
driver = "text-line"
port = "serial:///dev/ttyUSB1?bauds=9600"
[[stations]]
name = "dock"
devices = ["scanner-1", "scanner-2"]
workflow = "recieve"
location = "DOCK-1"
"""
    )
    status, said = run(config)
    assert status == 2
    lines = (":2:", ":5:", ":7:", ":9:", ":12:", ":15:", ":17:", ":20:", ":21:")
    for expected in (*lines, "mistakes", '"receive"', "text-line", "used twice", "scanner-2"):
        assert expected in said, said
    assert not (tmp_path / "data").exists()


def test_a_device_scans_for_exactly_one_station(tmp_path: Path):
    config = tmp_path / "agent.toml"
    lines = ['[agent]\nid = "a"\nsite = "s"\ndata_dir = "d"\n[mqtt]\nurl = "mqtt://h"\n[http]\nlisten = ":0"']
    lines += [
        f'[[devices]]\nname = "{name}"\ndriver = "text-line"\nport = "tcp://h:1?silent_s={number}"'
        for number, name in enumerate(("one", "two"))
    ]
    lines += [
        f'[[stations]]\nname = "{name}"\ndevices = ["one"]\nworkflow = "receive"\nlocation = "D"'
        for name in "xy"
    ]
    config.write_text("\n".join(lines))
    status, said = run(config)
    assert status == 2
    assert "scans for station 'x' already" in said
    assert "no station uses 'two'" in said
    assert "'one' is at this port already" in said, "each code would count twice, or one of them never open"


def test_tags_hold_no_element_strings(tmp_path: Path):
    config = tmp_path / "agent.toml"
    lines = ['[agent]\nid = "a"\nsite = "s"\ndata_dir = "d"\n[mqtt]\nurl = "mqtt://h"\n[http]\nlisten = ":0"']
    lines += ['[[devices]]\nname = "gate"\ndriver = "m100"\nport = "tcp://h:1"\ngs1_anywhere = true']
    lines += ['[[stations]]\nname = "x"\ndevices = ["gate"]\nworkflow = "receive"\nlocation = "D"']
    config.write_text("\n".join(lines))
    status, said = run(config)
    assert status == 2
    assert ":13:" in said
    assert "leave gs1_anywhere out" in said


def test_scans_in_a_burst_are_all_recorded_in_order(agent: AgentProgram):
    codes = [f"]d2010952123454323721B{number:03}" for number in range(80)]
    agent.scan("dock", "TALLYMAN:DONE")
    for code in codes:
        agent.send("dock", code.encode() + b"\r\n")
    eventually(lambda: agent.state("dock")["count"] == len(codes), 15)
    newest = [entry["code"] for entry in agent.state("dock")["recorded"]]
    assert newest == [code[3:] for code in reversed(codes)][: len(newest)]


def test_a_scanner_that_is_unplugged_is_shown(agent: AgentProgram):
    agent.unplug("gate")
    eventually(lambda: agent.state("gate")["status"]["devices"][0]["status"] == "failed", 10)
    assert agent.state("aisle")["status"]["devices"][0]["status"] == "online"
