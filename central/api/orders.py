"""/v1/orders: what channels sold."""

from fastapi import APIRouter
from starlette.responses import Response

from central.api import lookups
from central.api.door import Operator, Reader, answered
from central.api.locations import Id
from central.api.models import OrderIn, OrderOut, OrdersOut
from central.api.paging import Cursor, Limit, Status, page
from central.api.problems import refuse, responses
from central.ledger import views
from central.ledger.commands import CancelOrder, OpenOrder
from sync.messages import DocumentLine

router = APIRouter(prefix="/v1/orders", tags=["orders"])


@router.post(
    "",
    status_code=201,
    response_model=OrderOut,
    responses={
        200: {"model": OrderOut, "description": "It was there already, with the same content"},
        **responses(
            "insufficient-stock",
            "unknown-item",
            "unknown-reservation",
            "already-exists",
            "not-active",
            "expired",
        ),
    },
)
async def open_order(body: OrderIn, door: Operator) -> Response:
    """Commit stock to an order: all lines or none."""
    key = door.key(body)
    lines = tuple(DocumentLine(sku=line.sku, quantity=line.quantity) for line in body.lines)
    command = OpenOrder(door.actor, body.id, body.site, body.channel, lines, tuple(body.reservations), key)
    return await door.submit(command, key)


@router.get("", response_model=OrdersOut)
async def list_orders(
    door: Reader, status: Status = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Orders by id."""
    return await page(door, "orders", lookups.orders, limit, cursor, status=status)


@router.post(
    "/{id:path}/cancel", response_model=OrderOut, responses=responses("unknown-document", "not-active")
)
async def cancel_order(id: Id, door: Operator) -> Response:  # noqa: A002 (the contract's word)
    """Free what was not picked yet."""
    key = door.key()
    return await door.submit(CancelOrder(door.actor, id, key), key)


@router.get("/{id:path}", response_model=OrderOut, responses=responses("unknown-document"))
async def get_order(id: Id, door: Reader) -> Response:  # noqa: A002 (the contract's word)
    """Ordered, picked, packed and shipped, per line."""
    body = await door.read(views.order, id)
    if body is None:
        raise refuse("unknown-document", f"There is no order {id}.", id=id)
    return answered(body)
