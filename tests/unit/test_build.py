"""How the parts of an agent are put together."""

import asyncio
from pathlib import Path

from agent.build import STATE_S, Agent
from agent.config import AgentConfig
from devices.reader import PortStatus
from sync.journal import Journal


async def test_central_hears_of_a_loose_cable_now_and_then(tmp_path: Path):
    settings = AgentConfig.model_validate(
        {
            "agent": {"id": "dock-2", "site": "lej1", "data_dir": str(tmp_path)},
            "mqtt": {"url": "mqtt://127.0.0.1:1"},
            "http": {"listen": "127.0.0.1:8481"},
            "devices": [{"name": "gate", "driver": "m100", "port": f"serial://{tmp_path}/gate"}],
            "stations": [{"name": "dock", "devices": ["gate"], "workflow": "receive", "location": "DOCK-1"}],
        }
    )
    journal = await Journal.open(tmp_path / "journal.db", agent="dock-2", site="lej1")
    try:
        agent = Agent(settings, journal)
        told: list[str] = []
        agent.uplink.publish_state = lambda: told.append(agent.readers["gate"].status.status)
        for _ in range(50):
            agent._port_changed("gate", PortStatus("failed", "unplugged", "2026-11-21T12:00:00Z"))
        await asyncio.sleep(1.5 * STATE_S)
        assert len(told) == 1
        agent._port_changed("gate", PortStatus("online", None, "2026-11-21T12:00:01Z"))
        await asyncio.sleep(1.5 * STATE_S)
        assert len(told) == 2, "the last change is told, too"
    finally:
        await journal.close()
