"""/v1/purchase-orders: what is expected from suppliers, and how far it has come."""

from fastapi import APIRouter
from starlette.responses import Response

from central.api import lookups
from central.api.door import Operator, Reader, answered
from central.api.locations import Id
from central.api.models import PurchaseOrderIn, PurchaseOrderOut, PurchaseOrdersOut
from central.api.paging import Cursor, Limit, Status, page
from central.api.problems import refuse, responses
from central.ledger import views
from central.ledger.commands import ClosePurchaseOrder, Notice, OpenPurchaseOrder
from sync.messages import DocumentLine

router = APIRouter(prefix="/v1/purchase-orders", tags=["purchase orders"])


@router.post(
    "",
    status_code=201,
    response_model=PurchaseOrderOut,
    responses={
        200: {"model": PurchaseOrderOut, "description": "It was there already, with the same content"},
        **responses("already-exists", "unknown-item"),
    },
)
async def open_purchase_order(body: PurchaseOrderIn, door: Operator) -> Response:
    """Announce what is expected."""
    key = door.key(body)
    notices = tuple(
        Notice(one.sscc, one.parent, tuple(line.model_dump(exclude_none=True) for line in one.lines))
        for one in body.notices
    )
    lines = tuple(DocumentLine(sku=line.sku, quantity=line.quantity) for line in body.lines)
    command = OpenPurchaseOrder(door.actor, body.id, body.site, body.supplier, lines, notices, key)
    return await door.submit(command, key)


@router.get("", response_model=PurchaseOrdersOut)
async def list_purchase_orders(
    door: Reader, status: Status = None, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """Purchase orders by id."""
    return await page(door, "purchase_orders", lookups.purchase_orders, limit, cursor, status=status)


@router.post(
    "/{id:path}/close", response_model=PurchaseOrderOut, responses=responses("unknown-document", "not-active")
)
async def close_purchase_order(id: Id, door: Operator) -> Response:  # noqa: A002 (the contract's word)
    """Expect nothing more; what is over or short stays visible."""
    key = door.key()
    return await door.submit(ClosePurchaseOrder(door.actor, id, key), key)


@router.get("/{id:path}", response_model=PurchaseOrderOut, responses=responses("unknown-document"))
async def get_purchase_order(id: Id, door: Reader) -> Response:  # noqa: A002 (the contract's word)
    """Expected, received, over and short, per line."""
    body = await door.read(views.purchase_order, id)
    if body is None:
        raise refuse("unknown-document", f"There is no purchase order {id}.", id=id)
    return answered(body)
