"""The OpenAPI 3.1 document, asked of the very application that central serves; no database is opened for it."""

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from central.api.app import Parts, create
from central.ledger.commands import Command, Result
from central.ledger.service import LedgerDown
from docs.generator.schemas import Schema


class _NoLedger:
    """Stands where the ledger would: nobody asks a document's maker to book anything."""

    async def submit(self, command: Command, *, timeout_s: float) -> Result:  # noqa: ARG002 (the protocol's signature)
        raise LedgerDown(f"{command} cannot be booked while documents are made")


def build(version: str) -> Schema:
    """The document as one value."""
    parts = Parts(
        engine=sa.create_engine("sqlite://"),
        ledger=_NoLedger(),
        registry=CollectorRegistry(),
        version=version,
        broker_online=lambda: False,
    )
    return create(parts).openapi()
