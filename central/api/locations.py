"""/v1/locations: where things can be."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from central.api import lookups
from central.api.door import Operator, Reader, answered
from central.api.items import same_id
from central.api.models import LocationIn, LocationOut, Name
from central.api.problems import refuse, responses
from central.ledger.commands import PutLocation

router = APIRouter(prefix="/v1/locations", tags=["locations"])

PATH = "/{id:path}"
Id = Annotated[Name, Path(description="Percent-encode what a path cannot hold.")]


@router.put(
    PATH,
    response_model=LocationOut,
    responses={201: {"model": LocationOut, "description": "Created"}, **responses("already-exists")},
)
async def put_location(id: Id, body: LocationIn, door: Operator) -> Response:  # noqa: A002 (the contract's word)
    """Create or replace a location."""
    same_id("id", id, body.id)
    key = door.key(body)
    command = PutLocation(
        actor=door.actor,
        id=id,
        site=body.site,
        zone=body.zone,
        walk_order=body.walk_order,
        gln=body.gln,
        key=key,
    )
    return await door.submit(command, key)


@router.get(PATH, response_model=LocationOut, responses=responses("unknown-location"))
async def get_location(id: Id, door: Reader) -> Response:  # noqa: A002 (the contract's word)
    """A location as it was registered, or as it was booked provisionally."""
    body = await door.read(lookups.location, id)
    if body is None:
        raise refuse(
            "unknown-location", f"There is no location {id}. PUT /v1/locations/{id} makes it.", id=id
        )
    return answered(body)
