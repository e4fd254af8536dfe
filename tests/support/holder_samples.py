"""A request that each method of HolderService takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from passmill.v1 import holder_service_pb2 as pb
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.holders import card


def holder_requests(ids: Mapping[str, str], new: Callable[[], Any]) -> list[Message]:
    """The requests. `new`: gives each change a request id of its own."""
    wallet_pass = PassRef(pass_id=ids["pass_id"])
    ref = pb.HolderRef(wallet_pass=wallet_pass)
    return [
        pb.FindHolderRequest(holder=ref),
        pb.IdentifyHolderRequest(identity=card("one")),
        pb.LinkIdentityRequest(ref=ref, identity=card("one"), meta=new()),
        pb.UnlinkIdentityRequest(ref=ref, identity=card("one"), meta=new()),
        pb.LinkPassRequest(ref=ref, wallet_pass=wallet_pass, meta=new()),
        pb.EraseHolderRequest(ref=ref, meta=new()),
    ]
