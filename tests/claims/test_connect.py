"""The same calls from scripts of other pages: Connect's unary JSON, and CORS."""

import base64
from typing import Any

import httpx
import pytest

from tests.edge.rig import Edge
from tests.support.bundles import pass_json
from tests.support.claims import NAME, ClubLinks, new_key

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("worker"),
]
PREFIX = "/passmill.v1.EnrolmentService/"
ORIGIN = "https://shop.example"


async def call(edge: Edge, method: str, **request: Any) -> httpx.Response:
    """A call as a script of the shop's page sends it."""
    return await edge.client.post(PREFIX + method, json=request, headers={"origin": ORIGIN})


async def test_a_script_claims(links: ClubLinks, edge: Edge) -> None:
    """A script looks at a link and claims by it; the answer holds the bundle."""
    created = await links.create(fields=[NAME])
    looked = (await call(edge, "ResolveClaim", token=created.token)).json()
    assert looked["state"] == "CLAIM_STATE_OPEN"
    assert looked["branding"]["organizationName"] == "Ruderverein"
    assert looked["fields"][0]["kind"] == "KIND_NAME"
    key = new_key()
    claimed = await call(
        edge, "ClaimPass", token=created.token, claimKey=key, answers={"name": "Ada"}
    )
    assert claimed.headers["access-control-allow-origin"] == ORIGIN
    answer = claimed.json()
    assert answer["state"] == "CLAIM_STATE_CLAIMED"
    bundle = base64.b64decode(answer["bundle"])
    assert pass_json(bundle)["generic"]["primaryFields"][0]["value"] == "Ada"
    again = await call(edge, "ClaimPass", token=created.token, claimKey=key)
    assert again.json() == answer


async def test_errors_are_connects(links: ClubLinks, edge: Edge) -> None:
    """Unknown tokens, malformed requests and missing answers are Connect's errors, with details."""
    created = await links.create(fields=[NAME])
    unknown = await call(edge, "ResolveClaim", token="x" * 22)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert unknown.json()["details"][0]["type"] == "google.rpc.ErrorInfo"
    missing = await call(edge, "ClaimPass", token=created.token, claimKey=new_key())
    assert (missing.status_code, missing.json()["code"]) == (400, "invalid_argument")
    for body, media_type in (
        (b"{", "application/json"),
        (b'{"token": 5}', "application/json"),
        (b'{"nothing": "x"}', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 5000, "application/json"),
        (b"{" + b" " * 70_000 + b"}", "application/json"),
        (b"{}", "text/plain"),
        (b'{"token": "x", "claimKey": "short"}', "application/json"),
    ):
        answer = await edge.client.post(
            f"{PREFIX}ClaimPass", content=body, headers={"content-type": media_type}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_argument"), body[:20]


async def test_only_allowed_pages_may_call(edge: Edge) -> None:
    """The preflight of an allowed page's script is granted, of another's it is not."""
    for origin, status in ((ORIGIN, 200), ("https://elsewhere.example", 400)):
        answer = await edge.client.options(
            f"{PREFIX}ClaimPass",
            headers={
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type,connect-protocol-version",
            },
        )
        assert answer.status_code == status
        assert ("access-control-allow-origin" in answer.headers) == (status == 200)


@pytest.mark.parametrize(
    "method", ["CreateClaimLink", "GetClaimLink", "RevokeClaimLink", "Nothing"]
)
async def test_what_needs_a_credential_is_not_there(edge: Edge, method: str) -> None:
    """At the edge there is nothing but the public methods."""
    assert (await call(edge, method)).status_code == 404
