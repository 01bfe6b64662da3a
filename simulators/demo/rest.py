"""Central's REST API as an integrator uses it: a bearer token, idempotency keys, pages of movements."""

from typing import Any, Final
from urllib.parse import quote

import httpx2

PAGE: Final = 100
_BUSY_ATTEMPTS: Final = 5


class Refused(Exception):
    """Central said no; the text says to what, and its reason."""


class Central:
    """What a storefront, an ERP or a curious person asks of central."""

    def __init__(self, http: httpx2.AsyncClient, base_url: str, token: str) -> None:
        self._http, self._base_url = http, base_url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._keys = 0

    async def get(self, path: str, **parameters: str | int) -> Any:
        """GET; the answer's JSON.

        Raises:
            Refused: another status than 200.
        """
        return await self._ask("GET", path, params=parameters)

    async def put(self, path: str, body: object) -> Any:
        """PUT; the answer's JSON. Raises Refused."""
        return await self._ask("PUT", path, json=body)

    async def post(self, path: str, body: object) -> Any:
        """POST under a new idempotency key; the answer's JSON. Raises Refused."""
        self._keys += 1
        return await self._ask("POST", path, json=body, headers={"Idempotency-Key": f"demo-{self._keys}"})

    async def _ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> Any:
        for attempt in range(1, _BUSY_ATTEMPTS + 1):
            try:
                answer = await self._http.request(
                    method, f"{self._base_url}{path}", headers={**self._headers, **(headers or {})}, **more
                )
            except httpx2.TransportError as error:
                raise Refused(f"{method} {path}: central does not answer: {error!r}") from error
            if answer.status_code not in (429, 503) or attempt == _BUSY_ATTEMPTS:
                break
        if not answer.is_success:
            raise Refused(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()

    async def movements(self) -> list[dict[str, Any]]:
        """Every movement there is, in central order, page by page. Raises Refused."""
        found: list[dict[str, Any]] = []
        parameters: dict[str, str | int] = {"limit": PAGE}
        while page := (answer := await self.get("/v1/movements", **parameters))["movements"]:
            found += page
            parameters["after"] = answer["next"]
        return found

    async def availability(self, sku: str) -> dict[str, Any]:
        """What there is of one item. Raises Refused."""
        answer: dict[str, Any] = await self.get(f"/v1/availability/{quote(sku, safe='')}")
        return answer
