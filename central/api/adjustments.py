"""/v1/adjustments: stock changed by hand, with a reason and a name."""

from fastapi import APIRouter
from starlette.responses import Response

from central.api.door import Operator
from central.api.models import AdjustmentIn, AdjustmentOut
from central.api.problems import responses
from central.ledger.commands import Adjust

router = APIRouter(prefix="/v1/adjustments", tags=["adjustments"])


@router.post(
    "",
    status_code=201,
    response_model=AdjustmentOut,
    responses={
        200: {"model": AdjustmentOut, "description": "This id was booked before, with the same content"},
        **responses("unknown-item", "unknown-location", "already-exists"),
    },
)
async def adjust(body: AdjustmentIn, door: Operator) -> Response:
    """Book a difference between stock and the adjustment account."""
    key = door.key(body)
    command = Adjust(
        actor=door.actor,
        sku=body.sku,
        site=body.site,
        location=body.location,
        delta=body.delta,
        reason=body.reason,
        lot=body.lot or "",
        id=body.id,
        key=key,
    )
    return await door.submit(command, key)
