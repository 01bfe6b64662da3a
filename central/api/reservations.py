"""/v1/reservations: holds that end by themselves."""

from fastapi import APIRouter
from starlette.responses import Response

from central.api.door import Operator, Reader, answered
from central.api.locations import Id
from central.api.models import CommitIn, ReservationIn, ReservationOut
from central.api.problems import refuse, responses
from central.ledger import views
from central.ledger.commands import CommitReservation, ReleaseReservation, Reserve

router = APIRouter(prefix="/v1/reservations", tags=["reservations"])


@router.post(
    "",
    status_code=201,
    response_model=ReservationOut,
    responses=responses("insufficient-stock", "unknown-item"),
)
async def reserve(body: ReservationIn, door: Operator) -> Response:
    """Hold stock for a while; without `site` one that covers it whole is chosen."""
    key = door.key(body)
    command = Reserve(door.actor, body.sku, body.quantity, body.channel, body.ttl_s, body.site, key)
    return await door.submit(command, key)


@router.post(
    "/{id:path}/commit",
    response_model=ReservationOut,
    responses=responses("unknown-reservation", "expired", "not-active", "insufficient-stock"),
)
async def commit_reservation(id: Id, door: Operator, body: CommitIn | None = None) -> Response:  # noqa: A002 (the contract's word)
    """Turn the hold into an order, or into a line of one."""
    body = body or CommitIn()
    key = door.key(body)
    return await door.submit(CommitReservation(door.actor, id, body.order, key), key)


@router.post(
    "/{id:path}/release",
    response_model=ReservationOut,
    responses=responses("unknown-reservation", "expired", "not-active"),
)
async def release_reservation(id: Id, door: Operator) -> Response:  # noqa: A002 (the contract's word)
    """Let the hold go."""
    key = door.key()
    return await door.submit(ReleaseReservation(door.actor, id, key), key)


@router.get("/{id:path}", response_model=ReservationOut, responses=responses("unknown-reservation"))
async def get_reservation(id: Id, door: Reader) -> Response:  # noqa: A002 (the contract's word)
    """The hold; expired from the instant it expires."""
    body = await door.read(views.reservation, id)
    if body is None:
        raise refuse("unknown-reservation", f"There is no reservation {id}.", id=id)
    return answered(body)
