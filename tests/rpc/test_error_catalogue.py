"""The catalogue of errors: one reason, one code, the same names in the protocol and the service."""

import json
from datetime import timedelta

import grpc
import pytest

from passmill.errors import KIND_OF_REASON, AppError, ErrorKind, FieldError, Reason
from passmill.rpc.status import CODE_OF_KIND, code_of
from passmill.v1.error_reason_pb2 import ErrorReason
from tests.support.golden import Golden
from tests.support.refusals import refusal_of
from tests.support.small_door import open_small_door, raising

PREFIX = "ERROR_REASON_"


def test_reasons_mirror_the_protocol() -> None:
    """The service has exactly the reasons of the protocol's enum, name for name."""
    declared = {name.removeprefix(PREFIX) for name in ErrorReason.keys()}  # noqa: SIM118
    assert {reason.value for reason in Reason} == declared - {"UNSPECIFIED"}
    assert all(reason.name == reason.value for reason in Reason)


def test_every_reason_has_a_code() -> None:
    """Each reason has a kind, each kind a code of its own, and none is OK or UNKNOWN."""
    assert set(KIND_OF_REASON) == set(Reason)
    assert set(CODE_OF_KIND) == set(ErrorKind)
    assert len(set(CODE_OF_KIND.values())) == len(ErrorKind)
    assert not {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN} & set(CODE_OF_KIND.values())


def test_the_catalogue_stays_as_it_is(golden: Golden) -> None:
    """Golden: what each reason's number and code are, for clients branch on them."""
    catalogue = {
        reason.value: {
            "number": ErrorReason.Value(PREFIX + reason.value),
            "code": code_of(AppError(reason=reason, message="x")).name,
        }
        for reason in Reason
    }
    text = json.dumps(catalogue, indent=2, sort_keys=True) + "\n"
    golden.check("error_catalogue.json", text.encode())


@pytest.mark.parametrize("reason", [each for each in Reason if each is not Reason.INTERNAL])
async def test_every_reason_reaches_the_client(reason: Reason) -> None:
    """An error of each reason arrives with its code, message, metadata, fields and delay, as
    google.rpc details."""
    error = AppError(
        reason=reason,
        message='Nicht "möglich"\n% \U0001f622',
        fields=(
            FieldError(path='draft.values["x"]', message="is wrong"),
            FieldError(path="drafts[3].holder.name", message="ist falsch"),
        ),
        metadata={"scope": "issue"},
        retry_after=timedelta(milliseconds=1500),
    )
    async with open_small_door(raising(error)) as door:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await door.call()
        refusal = refusal_of(caught.value)
        assert refusal.code is code_of(error)
        assert (refusal.reason, refusal.domain) == (reason.value, "passmill")
        assert refusal.message == error.message
        assert refusal.metadata == {"scope": "issue"}
        assert refusal.fields == {each.path: each.message for each in error.fields}
        assert refusal.retry_after == timedelta(milliseconds=1500)
        assert door.sample("passmill_rpc_handled_total", code=refusal.code.name) == 1
        assert (
            door.registry.get_sample_value("passmill_refusals_total", {"reason": reason.value}) == 1
        )


async def test_a_bare_error_has_no_more_than_its_reason() -> None:
    """An error without fields and delay carries neither BadRequest nor RetryInfo."""
    error = AppError(reason=Reason.NOT_FOUND, message="No pass with this id.")
    async with open_small_door(raising(error)) as door:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await door.call()
    refusal = refusal_of(caught.value)
    assert (refusal.fields, refusal.metadata, refusal.retry_after) == ({}, {}, None)


@pytest.mark.parametrize("letter", ["x", "ß", "張", "\U0001f622", "\x7f"])
async def test_an_error_of_any_size_arrives(letter: str) -> None:
    """However many fields an error names and however long its texts are, in any script, it arrives
    with its reason and the first of the fields; what no trailer can hold is left out."""
    fields = [
        FieldError(path=f'drafts[{at}].values["{letter * (at % 90)}"]', message=letter * 200)
        for at in range(2000)
    ]
    error = AppError(reason=Reason.BATCH_REFUSED, message=letter * 100_000, fields=fields)
    async with open_small_door(raising(error)) as door:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await door.call()
    refusal = refusal_of(caught.value)
    assert refusal.reason == "BATCH_REFUSED"
    assert list(refusal.fields) == [each.path for each in fields[: len(refusal.fields)]]
    assert refusal.message.endswith("…")
    assert len(refusal.fields) > 1
    assert refusal.metadata == {"fields_left_out": str(2000 - len(refusal.fields))}
