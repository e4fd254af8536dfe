"""Between api_scope.proto and the scopes of the domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from passmill.domain.callers import Scope
from passmill.v1 import api_scope_pb2 as pb

_SCOPES: Final[Mapping[pb.ApiScope.ValueType, Scope]] = {
    pb.API_SCOPE_ISSUE: Scope.ISSUE,
    pb.API_SCOPE_READ: Scope.READ,
    pb.API_SCOPE_REDEEM: Scope.REDEEM,
    pb.API_SCOPE_ADMIN: Scope.ADMIN,
}
_NUMBERS: Final = {scope: number for number, scope in _SCOPES.items()}


def scopes_from(numbers: Iterable[pb.ApiScope.ValueType]) -> frozenset[Scope]:
    """The scopes asked for; the rules in the proto let only known ones in."""
    return frozenset(_SCOPES[number] for number in numbers)


def scope_numbers(scopes: Iterable[Scope]) -> list[pb.ApiScope.ValueType]:
    """Scopes for the wire, in the order of their numbers."""
    return sorted(_NUMBERS[scope] for scope in scopes)
