"""AccessService: what a credential is good for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message

from passmill.domain.clock import Clock
from passmill.rpc.convert_scopes import scope_numbers
from passmill.rpc.convert_time import timestamp
from passmill.rpc.door import Call, MethodRule
from passmill.v1 import access_service_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["AccessService"]
RULES: Final[Mapping[str, MethodRule]] = {"GetCaller": MethodRule(scope=None)}


class AccessServicer:
    """Answers from the credential alone."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    async def get_caller(self, _: pb.GetCallerRequest, call: Call) -> Message:
        """Tells who the service takes the caller for."""
        return pb.GetCallerResponse(
            tenant_id=str(call.caller.tenant_id),
            key_id=call.caller.key_id,
            scopes=scope_numbers(call.caller.scopes),
            server_time=timestamp(self._clock.now()),
        )
