"""/v1/discrepancies: what does not add up, with an owner and a due time."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from central.api import lookups
from central.api.door import Reader
from central.api.models import DiscrepanciesOut, Name
from central.api.paging import Cursor, Limit, page

router = APIRouter(prefix="/v1/discrepancies", tags=["discrepancies"])


@router.get("", response_model=DiscrepanciesOut)
async def list_discrepancies(
    door: Reader,
    status: Annotated[Literal["open", "closed"] | None, Query()] = None,
    sku: Annotated[Name | None, Query(description="Only of this item.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Discrepancies in the order in which they were opened."""
    return await page(
        door, "discrepancies", lookups.discrepancies, limit, cursor, numbered=True, status=status, sku=sku
    )
