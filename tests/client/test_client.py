"""What the clients send, and how they bear refusals and failures."""

from __future__ import annotations

import pickle
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from passmill.v1 import (
    access_service_pb2,
    admin_service_pb2,
    campaign_service_pb2,
    device_service_pb2,
    enrolment_service_pb2,
    event_service_pb2,
    pass_service_pb2,
    program_service_pb2,
    template_service_pb2,
)
from passmill_client import AdminClient, AsyncClient, Client, PassmillError, Reply, messages
from tests.client.scripted_service import Received, reason, refuse, retry_in, serve

KEY = "pmk_canary"


def issued(call: Received, context: grpc.ServicerContext) -> Message:
    """Answers IssuePass."""
    return messages.IssuePassResponse(wallet_pass=messages.Pass(reference_id="K7M3-Q8TX"))


def issue_request(call: Received) -> messages.IssuePassRequest:
    """The IssuePass that arrived."""
    return messages.IssuePassRequest.FromString(call.content)


def test_every_method_of_the_protocol_is_offered() -> None:
    """Both clients have every method of the public services, the admin client every admin one."""

    def names(module: object) -> set[str]:
        [service] = module.DESCRIPTOR.services_by_name.values()  # type: ignore[attr-defined]
        return {re.sub(r"(?<!^)(?=[A-Z])", "_", method.name).lower() for method in service.methods}

    modules = (
        access_service_pb2,
        campaign_service_pb2,
        device_service_pb2,
        enrolment_service_pb2,
        event_service_pb2,
        pass_service_pb2,
        program_service_pb2,
        template_service_pb2,
    )
    public = set[str]().union(*map(names, modules))
    assert public <= set(dir(Client))
    assert public <= set(dir(AsyncClient))
    assert names(admin_service_pb2) <= set(dir(AdminClient))


def test_issue_pass_is_sent_with_key_deadline_and_a_fresh_request_id() -> None:
    """A change carries the bearer key, a deadline, and a new UUID unless the caller has one."""
    own = uuid4()
    with serve(issued) as service, Client(service.address, KEY, timeout=70) as client:
        for _ in range(2):
            made = client.issue_pass("t1", name="Ōtani", values={"points": 5}, revision=2)
            assert made.reference_id == "K7M3-Q8TX"
        client.issue_pass("t1", request_id=own, validate_only=True, timeout=30)
    first, second, third = service.received
    request = issue_request(first)
    assert request.template_id == "t1"
    assert request.revision == 2
    assert request.draft.holder.name == "Ōtani"
    assert request.draft.values["points"].integer == 5
    assert first.metadata["authorization"] == f"Bearer {KEY}"
    assert 31 < first.seconds_left < 71  # gRPC rounds up
    assert third.seconds_left < 31
    ids = {UUID(issue_request(call).meta.request_id) for call in (first, second)}
    assert len(ids) == 2
    assert issue_request(third).meta.request_id == str(own)
    assert issue_request(third).meta.validate_only


@pytest.mark.parametrize("failures", [1, 2])
async def test_unavailable_is_retried_with_the_same_request_id(failures: int) -> None:
    """A service that is away for a moment gets the same call again, in both clients."""

    def fail_at_first(call: Received, context: grpc.ServicerContext) -> Message:
        if len(service.received) <= failures:
            refuse(context, grpc.StatusCode.UNAVAILABLE, reason("UNAVAILABLE"))
        return issued(call, context)

    with serve(fail_at_first) as service, Client(service.address, KEY) as client:
        client.issue_pass("t1")
    assert len(service.received) == failures + 1
    assert len({call.content for call in service.received}) == 1

    with serve(fail_at_first) as service:
        async with AsyncClient(service.address, KEY) as async_client:
            await async_client.issue_pass("t1")
    assert len(service.received) == failures + 1
    assert len({call.content for call in service.received}) == 1


async def test_too_much_is_retried_when_the_service_says() -> None:
    """RESOURCE_EXHAUSTED with RetryInfo is asked again, not sooner than it says."""
    times: list[float] = []

    def busy_at_first(call: Received, context: grpc.ServicerContext) -> Message:
        times.append(time.monotonic())
        if len(times) == 1:
            exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
            refuse(context, exhausted, reason("RATE_LIMITED"), retry_in(0.2))
        return issued(call, context)

    with serve(busy_at_first) as service:
        with Client(service.address, KEY) as client:
            client.issue_pass("t1")
        assert times[1] - times[0] >= 0.2
        times.clear()
        async with AsyncClient(service.address, KEY) as async_client:
            await async_client.issue_pass("t1")
        assert times[1] - times[0] >= 0.2
    contents = [call.content for call in service.received]
    assert contents[0] == contents[1]
    assert contents[2] == contents[3]


@pytest.mark.parametrize("details", [[], [retry_in(3600)]])
def test_too_much_is_told_when_waiting_does_not_help(details: list[Message]) -> None:
    """Without RetryInfo, or with one beyond the deadline, the caller is told at once."""

    def busy(call: Received, context: grpc.ServicerContext) -> Message:
        exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
        return refuse(context, exhausted, reason("RATE_LIMITED"), *details)

    with (
        serve(busy) as service,
        Client(service.address, KEY) as client,
        pytest.raises(PassmillError) as caught,
    ):
        client.issue_pass("t1")
    assert caught.value.reason == "RATE_LIMITED"
    assert caught.value.retry_after == (timedelta(hours=1) if details else None)
    assert len(service.received) == 1


async def test_refusal_is_one_error_with_all_details() -> None:
    """Reason, message, fields, metadata and code of a refusal arrive; it survives a pickle."""
    violation = error_details_pb2.BadRequest.FieldViolation(
        field='draft.values["points"]', description="must be a whole number"
    )
    info = reason("INVALID_VALUES")
    info.metadata["slot"] = "points"

    def refuse_values(call: Received, context: grpc.ServicerContext) -> Message:
        bad = error_details_pb2.BadRequest(field_violations=[violation])
        code = grpc.StatusCode.INVALID_ARGUMENT
        return refuse(context, code, info, bad, message="Values do not fit.")

    request_id = str(uuid4())
    with serve(refuse_values) as service:
        with Client(service.address, KEY) as client, pytest.raises(PassmillError) as caught:
            client.issue_pass("t1", request_id=request_id)
        async with AsyncClient(service.address, KEY) as async_client:
            with pytest.raises(PassmillError) as caught_async:
                await async_client.issue_pass("t1", request_id=request_id)
    for error in (caught.value, caught_async.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301
        assert str(error) == "INVALID_VALUES: Values do not fit."
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT
        [problem] = error.fields
        assert (problem.path, problem.message) == (violation.field, violation.description)
        assert error.metadata == {"slot": "points"}
        assert error.request_id == request_id
        assert error.retry_after is None


def test_failure_before_the_service_is_the_same_error() -> None:
    """A deadline that passes is reason DEADLINE_EXCEEDED, though no service said so."""

    def sleep(call: Received, context: grpc.ServicerContext) -> Message:
        while context.is_active():
            time.sleep(0.01)
        return messages.GetPassResponse()

    with (
        serve(sleep) as service,
        Client(service.address, KEY) as client,
        pytest.raises(PassmillError) as caught,
    ):
        client.get_pass(reference_id="K7M3-Q8TX", timeout=0.2)
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.request_id is None


async def test_reply_tells_of_a_replay() -> None:
    """`Reply` says whether the first answer came again, and what the request id was."""

    def replay(call: Received, context: grpc.ServicerContext) -> Message:
        if len(service.received) % 2 == 0:
            context.set_trailing_metadata((("passmill-replayed", "true"),))
        return issued(call, context)

    request_id = uuid4()
    with serve(replay) as service:
        with Client(service.address, KEY) as client:
            first, second = Reply(), Reply()
            client.issue_pass("t1", request_id=request_id, reply=first)
            client.issue_pass("t1", request_id=request_id, reply=second)
        async with AsyncClient(service.address, KEY) as async_client:
            third, fourth = Reply(), Reply()
            await async_client.issue_pass("t1", reply=third)
            await async_client.issue_pass("t1", request_id=request_id, reply=fourth)
    assert [reply.replayed for reply in (first, second, third, fourth)] == [False, True] * 2
    assert first.request_id == second.request_id == fourth.request_id == str(request_id)
    assert third.request_id == issue_request(service.received[2]).meta.request_id


async def test_lists_go_from_page_to_page() -> None:
    """A list asks for pages until there is no token, and not before they are needed."""

    def page(call: Received, context: grpc.ServicerContext) -> Message:
        request = messages.ListPassesRequest.FromString(call.content)
        number = int(request.page_token or 0)
        return messages.ListPassesResponse(
            passes=[messages.Pass(serial_number=f"{number}.{place}") for place in range(2)],
            next_page_token=str(number + 1) if number < 2 else "",
        )

    expected = [f"{number}.{place}" for number in range(3) for place in range(2)]
    with serve(page) as service:
        with Client(service.address, KEY) as client:
            listed = client.list_passes(
                holder_phone="+12065550123", external_id=("crm", "4711"), page_size=2
            )
            assert [next(listed).serial_number for _ in range(2)] == expected[:2]
            assert len(service.received) == 1
            assert [each.serial_number for each in listed] == expected[2:]
        async with AsyncClient(service.address, KEY) as async_client:
            found = [each.serial_number async for each in async_client.list_passes()]
    assert found == expected
    request = messages.ListPassesRequest.FromString(service.received[1].content)
    assert request.filter.holder_phone == "+12065550123"
    assert (request.filter.external_id.system, request.filter.external_id.id) == ("crm", "4711")
    assert request.page_token == "1"


def test_channels_are_connections_of_their_own() -> None:
    """Calls go over the channels in turn, and no two share a connection."""
    with serve(issued) as service, Client(service.address, KEY, channels=4) as client:
        for _ in range(8):
            client.issue_pass("t1")
    peers = [call.peer for call in service.received]
    assert len(set(peers)) == 4
    assert peers[:4] == peers[4:]


def test_large_answers_arrive() -> None:
    """A .pkpasses of 33 MiB fits into one answer."""

    def bundle(call: Received, context: grpc.ServicerContext) -> Message:
        return messages.GetPassesBundleResponse(bundle=bytes(33 << 20))

    refs = [messages.PassRef(pass_id="1")]
    with serve(bundle) as service, Client(service.address, KEY) as client:
        assert len(client.get_passes_bundle(refs)) == 33 << 20


def test_update_names_what_was_given() -> None:
    """The mask of an update names exactly the given fields, slot by slot; None resets one."""

    def updated(call: Received, context: grpc.ServicerContext) -> Message:
        return messages.UpdatePassResponse()

    with serve(updated) as service, Client(service.address, KEY) as client:
        client.update_pass(
            reference_id="k7m3q8tx", name="Zoë", values={"points": 9, "tier": None}, etag="v3"
        )
        client.update_pass(pass_id="1", is_never_expiring=True)
    request = messages.UpdatePassRequest.FromString(service.received[0].content)
    assert list(request.update_mask.paths) == ["holder.name", "values.points", "values.tier"]
    assert request.wallet_pass.holder.name == "Zoë"
    assert {name: each.integer for name, each in request.wallet_pass.values.items()} == {
        "points": 9
    }
    assert request.ref.reference_id == "k7m3q8tx"
    assert request.etag == "v3"
    request = messages.UpdatePassRequest.FromString(service.received[1].content)
    assert list(request.update_mask.paths) == ["expire_time"]
    assert not request.wallet_pass.HasField("expire_time")


def test_a_pass_is_named_once() -> None:
    """A pass named in no way or in two is refused before anything is sent."""
    with Client("127.0.0.1:1", KEY) as client:
        with pytest.raises(TypeError, match="one of"):
            client.get_pass()
        with pytest.raises(TypeError, match="one of"):
            client.void_pass(pass_id="1", reference_id="K7M3-Q8TX")


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given is read from the variables; a missing one is named."""
    with serve(issued) as service:
        monkeypatch.setenv("PASSMILL_ADDRESS", service.address)
        with pytest.raises(ValueError, match="PASSMILL_API_KEY"):
            Client()
        monkeypatch.setenv("PASSMILL_API_KEY", KEY)
        with Client() as client:
            client.issue_pass("t1")
    assert service.received[0].metadata["authorization"] == f"Bearer {KEY}"


def test_repr_shows_no_key() -> None:
    """A client in a log shows where it calls, not with what."""
    with Client("127.0.0.1:1", KEY) as client:
        assert repr(client) == "Client('127.0.0.1:1')"
        assert KEY not in repr(vars(client))


def test_beyond_this_machine_calls_are_encrypted() -> None:
    """With root certificates the client speaks TLS, and checks who answers."""
    certificate, private_key = _server_certificate()
    with serve(
        issued, credentials=grpc.ssl_server_credentials([(private_key, certificate)])
    ) as service:
        address = service.address.replace("127.0.0.1", "localhost")
        with Client(address, KEY, root_certificates=certificate) as client:
            assert client.issue_pass("t1").reference_id == "K7M3-Q8TX"
        other, _ = _server_certificate()
        with (
            Client(address, KEY, root_certificates=other) as client,
            pytest.raises(PassmillError) as caught,
        ):
            client.issue_pass("t1", timeout=1)
    assert caught.value.reason in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    assert len(service.received) == 1


@pytest.mark.parametrize("address", ["passmill.example:443", "dns:///192.0.2.7:443"])
def test_plaintext_beyond_this_machine_has_to_be_asked_for(address: str) -> None:
    """An address elsewhere is called with TLS unless told otherwise."""
    with Client(address, KEY) as client:
        assert client._settings.credentials is not None
    with Client(address, KEY, plaintext=True) as client:
        assert client._settings.credentials is None


def _server_certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
