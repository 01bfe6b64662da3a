"""What central tells Prometheus: how much it books, how much waits, how its agents are.

The one idea: nothing is counted twice. The numbers stand where the work is done and are read when somebody asks.
"""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from central.consumer import Consumer
from central.ledger.service import Ledger


class _Measures:
    """Reads the numbers (a prometheus_client collector)."""

    def __init__(self, ledger: Ledger, consumer: Consumer) -> None:
        self._ledger, self._consumer = ledger, consumer

    def collect(self) -> Iterable[Metric]:
        """One reading."""
        ledger, consumer = self._ledger, self._consumer
        yield _gauge("ledger_waiting", "Commands that wait for the ledger.", ledger.waiting)
        yield _gauge("ledger_up", "Whether the ledger's database answered last.", ledger.down is None)
        yield _counter("ledger_commands", "Commands carried out.", ledger.committed_commands)
        yield _counter("ledger_transactions", "Transactions committed.", ledger.committed_transactions)
        begun_us = consumer.backup.begun_us if consumer.backup is not None else 0
        text = "When the newest backup that is counted on was begun, in seconds since 1970; 0: there is none."
        yield _gauge("backup_begun_seconds", text, begun_us / 1_000_000)
        yield _gauge("broker_up", "Whether the broker is connected.", consumer.online)
        messages = CounterMetricFamily(
            "tallyman_agent_messages", "What agents sent, by what it was.", labels=["kind"]
        )
        for kind, count in consumer.counts.items():
            messages.add_metric([kind], count)
        yield messages
        queued = GaugeMetricFamily("tallyman_agent_queued", "Events that wait on site.", labels=["agent"])
        online = GaugeMetricFamily("tallyman_agent_up", "Whether the agent is connected.", labels=["agent"])
        for name, seen in sorted(consumer.agents.items()):
            if seen.state is not None:
                queued.add_metric([name], seen.state.queued)
                online.add_metric([name], seen.state.status == "online")
        yield queued
        yield online


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"tallyman_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"tallyman_{name}", text, value=float(value))


def register(registry: CollectorRegistry, ledger: Ledger, consumer: Consumer) -> None:
    """Have them read with everything else at /metrics."""
    registry.register(_Measures(ledger, consumer))
