"""/v1/items: what can be counted."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from central.api import lookups
from central.api.door import Operator, Reader, answered
from central.api.models import ItemIn, ItemOut, Name
from central.api.problems import refuse, responses
from central.ledger.commands import PutItem
from sync.messages import Gtin

router = APIRouter(prefix="/v1/items", tags=["items"])

# A SKU may hold a slash.
PATH = "/{sku:path}"
Sku = Annotated[Name, Path(description="Percent-encode what a path cannot hold.")]


@router.put(
    PATH,
    response_model=ItemOut,
    responses={201: {"model": ItemOut, "description": "Created"}, **responses("already-exists")},
)
async def put_item(sku: Sku, body: ItemIn, door: Operator) -> Response:
    """Create or replace an item."""
    same_id("sku", sku, body.sku)
    key = door.key(body)
    gtins = tuple(Gtin(gtin=one.gtin, quantity=one.quantity) for one in body.gtins)
    command = PutItem(
        actor=door.actor,
        sku=sku,
        name=body.name,
        gtins=gtins,
        tracking=body.tracking,
        scale=body.scale,
        key=key,
    )
    return await door.submit(command, key)


@router.get(PATH, response_model=ItemOut, responses=responses("unknown-item"))
async def get_item(sku: Sku, door: Reader) -> Response:
    """An item as it was registered, or as it was booked provisionally."""
    body = await door.read(lookups.item, sku)
    if body is None:
        raise refuse("unknown-item", f"There is no item {sku}. PUT /v1/items/{sku} makes it.", sku=sku)
    return answered(body)


def same_id(name: str, path: str, body: str | None) -> None:
    """The id in a body is that of the path.

    Raises:
        Problem: `invalid`, when it is another.
    """
    if body is not None and body != path:
        what = f"is {body!r}, but the path says {path!r}; leave it out or send the same"
        raise refuse("invalid", f"body.{name}: {what}", errors=[{"where": f"body.{name}", "what": what}])
