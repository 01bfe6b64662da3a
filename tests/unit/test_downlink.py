"""What is read for many agents together, and what a change does to what is being read."""

import asyncio
from typing import Any

from central import worklists
from central.downlink import AgentSeen, Downlink
from central.reference import Update
from central.worklists import Told
from sync.messages import Hello, ListedIncarnation


class Nobody:
    """A ledger that tells of nothing."""

    def on_change(self, _callback: Any) -> None:
        pass


class Telling:
    """A downlink over readings that take until they are let go."""

    def __init__(self) -> None:
        self.read = 0
        """How often what is open at the site was."""
        self.slow_reference = False
        self.let_go = asyncio.Event()
        self.version = 1
        self.sent: list[tuple[str, bytes]] = []
        self.agents: dict[str, AgentSeen] = {}
        self.downlink = Downlink(
            Nobody(),  # type: ignore[arg-type]
            publish=lambda topic, payload: self.sent.append((topic, payload)),
            when_up=self.when_up,
            submit=self.submit,
            agents=self.agents,
            clock=lambda: 0.0,
            lease_s=60.0,
        )

    async def when_up(self, read: Any) -> Any:
        if getattr(read, "func", None) is worklists.planned:
            return []
        if getattr(read, "func", None) is worklists.whole:
            self.read += 1
            await self.let_go.wait()
            return Told("h", 1, 0, (), {}, {})
        found = self.version
        if self.slow_reference:
            await self.let_go.wait()
        return Update(found, (b"as of %d" % found,))

    async def submit(self, _command: Any) -> None:
        pass

    async def greet(self, agent: str) -> None:
        self.agents[agent] = AgentSeen(agent, "lej1", None, 0.0)
        listed = ListedIncarnation(incarnation="0" * 32, first_kept=1, last_sequence=0, acked=0)
        await self.downlink.greet(
            Hello(agent=agent, site="lej1", nonce="n", history=None, reference=None, software="",
                  incarnations=[listed]),
            "h",
        )  # fmt: skip


async def test_agents_of_one_site_that_say_hello_together_share_what_is_read() -> None:
    telling = Telling()
    greeting = asyncio.gather(*(telling.greet(f"dock-{n}") for n in range(50)))
    await asyncio.sleep(0.05)
    telling.let_go.set()
    await greeting
    assert telling.read <= 2, "for the first, and for all who came while that was read"
    assert len({topic for topic, _ in telling.sent if topic.endswith("/tasks")}) == 50


async def test_reference_data_that_was_read_before_a_change_is_told_to_nobody_after_it() -> None:
    telling = Telling()
    telling.slow_reference = True
    telling.agents["dock-1"] = AgentSeen("dock-1", "lej1", None, 0.0)
    early = asyncio.create_task(telling.downlink._bring_up_to_date("dock-1", None))
    await asyncio.sleep(0)
    telling.version = 2  # committed while the snapshot of version 1 is being made
    change = asyncio.create_task(telling.downlink._tell_reference())
    await asyncio.sleep(0)
    telling.let_go.set()
    await asyncio.gather(early, change)
    assert [payload for _, payload in telling.sent][-1] == b"as of 2"
    telling.agents["dock-2"] = AgentSeen("dock-2", "lej1", None, 0.0)
    await telling.downlink._bring_up_to_date("dock-2", None)
    assert telling.sent[-1] == ("tallyman/v1/agents/dock-2/reference", b"as of 2")
