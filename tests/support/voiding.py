"""Voiding and reinstating passes."""

from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import Pass
from tests.support.service import Club, by_id, meta


def void_request(wallet_pass: Pass, **more: object) -> pb.VoidPassRequest:
    """A request to void a pass."""
    request = pb.VoidPassRequest(ref=by_id(wallet_pass), meta=meta())
    request.MergeFrom(pb.VoidPassRequest(**more))  # type: ignore[arg-type]
    return request


def reinstate_request(wallet_pass: Pass, *, etag: str = "") -> pb.ReinstatePassRequest:
    """A request to reinstate a pass."""
    return pb.ReinstatePassRequest(ref=by_id(wallet_pass), etag=etag, meta=meta())


async def void(club: Club, wallet_pass: Pass, **more: object) -> Pass:
    """Voids a pass."""
    return (await club.passes.VoidPass(void_request(wallet_pass, **more))).wallet_pass


async def reinstate(club: Club, wallet_pass: Pass) -> Pass:
    """Reinstates a pass."""
    return (await club.passes.ReinstatePass(reinstate_request(wallet_pass))).wallet_pass
