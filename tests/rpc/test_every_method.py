"""What holds for every method, found by the descriptors: ids, rights, deadlines, strange texts."""

import itertools
import secrets
import uuid
from typing import Final

import grpc
import pytest
from google.protobuf.message import Message

from passmill.domain.barcodes import LAST_KEY_ID
from passmill.domain.callers import Scope
from passmill.domain.ids import encode_base32
from passmill.domain.reference_ids import ReferenceNumber, format_reference_id
from passmill.rpc.convert_scopes import scope_numbers
from passmill.v1 import balance_service_pb2 as balances_pb2
from passmill.v1 import campaign_service_pb2 as campaigns_pb2
from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1.wallet_pass_pb2 import PassRef
from tests.support.channels import CALL_SECONDS
from tests.support.every_method import (
    Ids,
    Method,
    every_method,
    id_paths,
    ids_of,
    sample_requests,
    text_paths,
    with_text,
)
from tests.support.refusals import Refusal, refusal_of, refusal_of_status
from tests.support.service import Club, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

FAULTS: Final = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
# A sample may come when its pass or campaign is in no state for it.
WRONG_STATES: Final = {
    "PASS_NOT_VOIDED",
    "PASS_ERASED",
    "CAMPAIGN_STATE",
    "STREAM_STATE",
    "INVALID_CAMPAIGN",
}
MALFORMED: Final = (
    "x",
    "0",
    "-1",
    "9" * 40,
    "٣",
    "' OR 1=1 --",
    "a\x00b",
    "\U0001f622",
    "x" * 5000,
    "{00000000-0000-0000-0000-000000000000}",
)


def unknown(field: str) -> str:
    """A well-formed id of a kind, which nothing has."""
    match field:
        case "tenant_id" | "signing_identity_id":
            return str(secrets.randbits(62) + 1)
        case "barcode_key_id":
            return str(LAST_KEY_ID + 1 + secrets.randbelow(1000))
        case "key_id":
            return secrets.token_hex(6)
        case "reference_id":
            return format_reference_id(ReferenceNumber(secrets.randbits(35)))
        case "serial_number":
            return encode_base32(secrets.token_bytes(16))
        case _:
            return str(uuid.uuid4())


async def outcome(
    method: Method, service: Service, api_key: str, request: Message, **options: float | None
) -> Refusal | None:
    """How a call is refused, None when it is not. A refusal may be an answer of a stream."""
    try:
        content = await method.send(service, api_key, request.SerializeToString(), **options)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error)
    return refusal_in_answer(method, content)


def refusal_in_answer(method: Method, content: bytes) -> Refusal | None:
    """The refusal that an answer of AppendRecipients or StreamEntries holds."""
    if not method.descriptor.client_streaming:
        return None
    if method.name == "StreamEntries":
        told = balances_pb2.StreamEntriesResponse.FromString(content)
        return refusal_of_status(told.error) if told.HasField("error") else None
    answer = campaigns_pb2.AppendRecipientsResponse.FromString(content)
    return refusal_of_status(answer.error.status) if answer.HasField("error") else None


def credential(method: Method, club: Club) -> str:
    """A key that may call the method for a tenant."""
    settings = club.tenant.service.settings
    assert settings.operator_key is not None
    return (
        settings.operator_key.get_secret_value() if method.is_admin else club.tenant.member.api_key
    )


async def test_each_method_has_a_sample(service: Service, rowing_club: Club) -> None:
    """The tests of this file reach every method that is served, each with a request it takes."""
    methods = every_method(service)
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    assert {method.name for method in methods} == set(requests)
    for method in methods:
        request = requests[method.name]
        assert request.DESCRIPTOR is method.descriptor.input_type
        refusal = await outcome(method, service, credential(method, rowing_club), request)
        assert refusal is None or refusal.reason in WRONG_STATES, (method.name, refusal)


async def test_ids_tell_nothing(service: Service, rowing_club: Club) -> None:
    """Unknown, foreign and malformed ids of each kind are refused with the very same bytes by every
    method that takes one."""
    theirs = await ids_of(await service.add_club())
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    checked = set()
    for method in every_method(service):
        request = requests[method.name]
        for path in id_paths(method.descriptor.input_type):
            await check_ids(method, rowing_club, request, path, theirs)
            checked.add(path[-1])
    assert checked == set(theirs.by_field)


async def check_ids(
    method: Method, club: Club, request: Message, path: tuple[str, ...], theirs: Ids
) -> None:
    """One id field of one method."""
    field = path[-1]
    service, key = club.tenant.service, credential(method, club)
    texts = [unknown(field), *MALFORMED]
    if field == "tenant_id":
        key = club.tenant.member.api_key if not method.rule.operator_only else key
    if field != "tenant_id" or not method.rule.operator_only:
        texts.append(theirs[field])
    statuses = {}
    for text in texts:
        refusal = await outcome(method, service, key, with_text(request, path, text))
        assert refusal is not None, (method.name, path, text)
        assert refusal.reason == "NOT_FOUND", (method.name, path, text, refusal)
        statuses[refusal.content] = text
    assert len(statuses) == 1, (method.name, path, statuses)


async def test_a_foreign_key_changes_nothing(service: Service, rowing_club: Club) -> None:
    """Another tenant's key, with every scope, gets NOT_FOUND from every method that names
    something, and after all of it the tenant's things are as they were."""
    stranger = await service.add_club()
    ids = await ids_of(rowing_club)
    before = await rowing_club.passes.GetPass(_get(ids))
    requests = await sample_requests(rowing_club, ids, validate_only=False)
    for method in every_method(service):
        if method.rule.operator_only or not list(id_paths(method.descriptor.input_type)):
            continue
        refusal = await outcome(
            method, service, stranger.tenant.member.api_key, requests[method.name]
        )
        if method.name.startswith("List"):
            assert refusal is None or refusal.reason == "NOT_FOUND"
        else:
            assert refusal is not None, method.name
            assert refusal.reason == "NOT_FOUND", method.name
    assert await rowing_club.passes.GetPass(_get(ids)) == before


def _get(ids: Ids) -> passes_pb2.GetPassRequest:
    return passes_pb2.GetPassRequest(ref=PassRef(pass_id=ids["pass_id"]))


async def test_scopes_open_what_they_name(service: Service, rowing_club: Club) -> None:
    """For each set of scopes and each method: the call is let in exactly when its rule's scope is
    among them, and an operator's method never."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    scope_sets = [scopes for count in (1, 2, 4) for scopes in itertools.combinations(Scope, count)]
    for scopes in scope_sets:
        api_key = await service.add_key(rowing_club.tenant.tenant_id, scope_numbers(scopes))
        for method in every_method(service):
            refusal = await outcome(method, service, api_key, requests[method.name])
            is_refused = refusal is not None and refusal.reason == "SCOPE_MISSING"
            needed = method.rule.scope
            wanted = method.rule.operator_only or not (needed is None or needed in scopes)
            assert is_refused == wanted, (method.name, scopes, refusal)
            if refusal is not None and is_refused:
                assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
                named = "operator" if method.rule.operator_only else needed
                assert refusal.metadata == {"scope": named}


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer pm_x_y", "x" * 5000],
)
async def test_without_a_key_nothing_opens(
    service: Service, rowing_club: Club, header: str | None
) -> None:
    """No credential, or one that is none, is refused alike by every method, before anything else is
    looked at; public methods do not look for one."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    metadata = () if header is None else (("authorization", header),)
    statuses = set()
    for method in every_method(service):
        if method.rule.is_public:
            await method.send_by(
                service.api,
                requests[method.name].SerializeToString(),
                timeout=CALL_SECONDS,
                metadata=metadata,
            )
            continue
        for content in (requests[method.name].SerializeToString(), b"\xff"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await method.send_by(
                    service.admin if method.is_admin else service.api,
                    content,
                    timeout=CALL_SECONDS,
                    metadata=metadata,
                )
            refusal = refusal_of(caught.value)
            assert refusal.reason == "UNAUTHENTICATED"
            statuses.add(refusal.content)
    assert len(statuses) == 1


async def test_the_operators_key_opens_the_admin_port_alone(
    service: Service, rowing_club: Club
) -> None:
    """On the public port the operator's key is no credential, where one is needed."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    assert service.settings.operator_key is not None
    key = service.settings.operator_key.get_secret_value()
    for method in every_method(service):
        refusal = await outcome(method, service, key, requests[method.name])
        is_refused = refusal is not None and refusal.reason == "UNAUTHENTICATED"
        assert is_refused == (not method.is_admin and not method.rule.is_public), method.name


async def test_changes_need_a_deadline(service: Service, rowing_club: Club) -> None:
    """A call without a deadline is refused by every method that changes something, and taken by
    every other."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    for method in every_method(service):
        refusal = await outcome(
            method,
            service,
            credential(method, rowing_club),
            requests[method.name],
            timeout=None,
        )
        is_refused = refusal is not None and refusal.reason == "DEADLINE_REQUIRED"
        assert is_refused == method.rule.mutates, method.name
        assert is_refused == ("meta" in method.descriptor.input_type.fields_by_name)


async def test_any_deadline_is_taken(service: Service, rowing_club: Club) -> None:
    """A deadline of years is as good as one of seconds."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    for method in every_method(service):
        refusal = await outcome(
            method,
            service,
            credential(method, rowing_club),
            requests[method.name],
            timeout=3e8,
        )
        assert refusal is None or refusal.reason in WRONG_STATES, (method.name, refusal)


async def test_requests_that_are_none_are_refused(service: Service, rowing_club: Club) -> None:
    """Bytes that are no message, and a change without a request id or with one that is no UUID, are
    refused by name."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=True)
    for method in every_method(service):
        key = credential(method, rowing_club)
        try:
            answer = await method.send(service, key, b"\x0a\xff\xff")
        except grpc.aio.AioRpcError as error:
            malformed: Refusal | None = refusal_of(error)
        else:
            malformed = refusal_in_answer(method, answer)
        assert malformed is not None
        assert malformed.reason == "INVALID_FIELD"
        if not method.rule.mutates:
            continue
        for request_id in ("", "x", "00000000-0000-0000-0000-00000000000g", "a\x00"):
            request = with_text(requests[method.name], ("meta", "request_id"), request_id)
            refusal = await outcome(method, service, key, request)
            assert refusal is not None
            assert set(refusal.fields) == {"meta.request_id"}, method.name


@pytest.mark.parametrize("text", ["a\x00b", "\U0001f622", "\ufeff\u202e\r\n", "x" * 70_000])
async def test_no_text_makes_it_fail(service: Service, rowing_club: Club, text: str) -> None:
    """A null, a control, an emoji or a very long text in any text of any request, keys of maps
    included, gives an answer or a refusal that the caller can do something about."""
    requests = await sample_requests(rowing_club, await ids_of(rowing_club), validate_only=False)
    count, failures = 0, []
    for method in every_method(service):
        if method.name.startswith(("Archive", "SetTenantState", "RevokeApiKey")):
            continue  # would spoil the rest, and hold no text but ids
        key = credential(method, rowing_club)
        for path in text_paths(method.descriptor.input_type):
            request = with_text(requests[method.name], path, text)
            if method.rule.mutates and path != ("meta", "request_id"):
                request = with_text(request, ("meta", "request_id"), str(uuid.uuid4()))
            refusal = await outcome(method, service, key, request)
            if refusal is not None and refusal.code in FAULTS:
                failures.append((method.name, path, refusal.reason))
            count += 1
    assert not failures
    assert count > 100
