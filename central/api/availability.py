"""/v1/availability: what can be sold, in one call."""

from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query
from starlette.responses import Response

from central.api import lookups
from central.api.door import Reader, answered
from central.api.items import Sku
from central.api.models import AvailabilityOut, Name
from central.api.problems import refuse, responses
from central.ledger import views

router = APIRouter(prefix="/v1/availability", tags=["availability"])


@router.get("/{sku:path}", response_model=AvailabilityOut, responses=responses("unknown-item"))
async def get_availability(
    sku: Sku,
    door: Reader,
    site: Annotated[Name | None, Query(description="Only this site.")] = None,
    channel: Annotated[Name | None, Query(description="Net of this channel's safety buffer.")] = None,
) -> Response:
    """On hand and available, net of holds that have expired, over all sites and by site."""
    body = await door.read(_known, sku, site, channel)
    if body is None:
        raise refuse("unknown-item", f"There is no item {sku}. PUT /v1/items/{sku} makes it.", sku=sku)
    return answered(body)


def _known(
    connection: sa.Connection, sku: str, site: str | None, channel: str | None
) -> dict[str, Any] | None:
    body = views.availability(connection, sku, site, channel)
    return body if body["sites"] or lookups.item(connection, sku) is not None else None
