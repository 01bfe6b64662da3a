"""Numbers for Prometheus: one registry per program, served at /metrics.

The one idea: a program makes its registry once and hands it to whoever counts; nothing counts into a global.
"""

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response


def create_registry(program: str, version: str) -> CollectorRegistry:
    """A registry with what every program tells: its name and version, memory, processor time, open files."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    information = Gauge(
        "tallyman_build_info", "Program and version; always 1.", ("program", "version"), registry=registry
    )
    information.labels(program=program, version=version).set(1)
    return registry


def add_route(app: FastAPI, registry: CollectorRegistry) -> None:
    """Serves the registry at GET /metrics. Names and numbers only: it is meant to be scraped without sign-in."""

    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route("/metrics", metrics, include_in_schema=False)
