"""AccessService."""

from __future__ import annotations

from typing import Unpack

from passmill.v1 import access_service_pb2 as pb
from passmill_client.call import Call, ReadOptions, call_of

_SERVICE = pb.DESCRIPTOR.services_by_name["AccessService"]


def get_caller(**options: Unpack[ReadOptions]) -> Call[pb.GetCallerResponse]:
    """Tells who the service takes the caller for, and what its API key may do. Any valid key."""
    return call_of(
        _SERVICE, pb.GetCallerRequest(), pb.GetCallerResponse, lambda answer: answer, options
    )
