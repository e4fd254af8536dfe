"""What a till does with answers that a service gives only when something is wrong with it, or when
it is newer than the till: a service that answers so by hand."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from passmill_client import messages
from passmill_pos.outcomes import ExitStatus
from tests.client.scripted_service import Received, reason, refuse, serve
from tests.pos.till import Till, make_till

BAD = "0196f0c2-7a40-7b1e-8000-000000000bad"
GOOD = "0196f0c2-7a40-7b1e-8000-{:012d}"


def keep_entries(till: Till, *pass_ids: str) -> None:
    """Notes an entry for each while the till is offline."""
    for pass_id in pass_ids:
        till.run("earn", pass_id, "1", "--unit", "points", "--offline")


def posted(call: Received) -> messages.BatchPostEntriesResponse:
    """The answer to a batch of entries."""
    request = messages.BatchPostEntriesRequest.FromString(call.content)
    return messages.BatchPostEntriesResponse(
        outcomes=[
            messages.EntryOutcome(
                request_id=entry.request_id, entry=messages.LedgerEntry(entry_id="e", amount=1)
            )
            for entry in request.entries
        ]
    )


@pytest.mark.parametrize(
    ("code", "status", "waiting"),
    [
        (grpc.StatusCode.INTERNAL, ExitStatus.KEPT, 1),
        (grpc.StatusCode.INVALID_ARGUMENT, ExitStatus.REFUSED, 0),
    ],
)
def test_an_entry_that_the_service_fails_at(
    tmp_path: Path, code: grpc.StatusCode, status: ExitStatus, waiting: int
) -> None:
    """Of entries one of which the service fails at the others are posted; that one stays when it
    may be done yet, and is told as wrong when it never will."""

    def behave(call: Received, context: grpc.ServicerContext) -> Message:
        request = messages.BatchPostEntriesRequest.FromString(call.content)
        if any(entry.ref.pass_id == BAD for entry in request.entries):
            return refuse(context, code, reason("SOMETHING"))
        return posted(call)

    with serve(behave) as service:
        till = make_till(tmp_path, service.address)
        keep_entries(till, *(GOOD.format(number) for number in range(5)), BAD, GOOD.format(9))
        drained = till.drain()
        assert (drained.status, drained.object["waiting"]) == (status, waiting)
        assert drained.object["sent"] == 7 - waiting
        assert till.drain().object["waiting"] == waiting


def test_a_crowded_service_is_left_alone(tmp_path: Path) -> None:
    """A service that has too much to do is sent nothing more, and all stays."""

    def behave(call: Received, context: grpc.ServicerContext) -> Message:
        return refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, reason("RATE_LIMITED"))

    with serve(behave) as service:
        till = make_till(tmp_path, service.address)
        keep_entries(till, *(GOOD.format(number) for number in range(3)))
        drained = till.drain()
        assert (drained.status, drained.object["waiting"]) == (ExitStatus.KEPT, 3)
        assert drained.object["stopped"] == "rate_limited"
        assert len(service.received) == 1


def test_an_answer_that_fails_is_kept(tmp_path: Path) -> None:
    """A change that the service broke over may have been made: it is kept, under its key."""

    def behave(call: Received, context: grpc.ServicerContext) -> Message:
        return refuse(context, grpc.StatusCode.INTERNAL, reason("INTERNAL"))

    with serve(behave) as service:
        till = make_till(tmp_path, service.address)
        told = till.run("redeem", GOOD.format(1), "--offer", "o", "--json")
        assert told.status is ExitStatus.KEPT
        till.drain()
    keys = {
        messages.RedeemPassRequest.FromString(call.content).meta.request_id
        for call in service.received
    }
    assert keys == {told.object["key"]}
    contents = {call.content for call in service.received}
    assert len(contents) == 1


def test_what_a_newer_service_says_is_not_accepted(tmp_path: Path) -> None:
    """A state, an outcome and a reason that the till does not know are told by their numbers, and
    nothing is taken for good."""

    def behave(call: Received, context: grpc.ServicerContext) -> Message:
        if call.method == "VerifyPass":
            answer = messages.VerifyPassResponse.FromString(b"\x08\x63")  # state 99
            answer.passes.append(messages.ScannedPass.FromString(b"\x10\x63"))
            return answer
        return messages.RedeemPassResponse.FromString(b"\x08\x63\x10\x62")  # outcome 99, reason 98

    with serve(behave) as service:
        till = make_till(tmp_path, service.address)
        told = till.run("verify", "K7M3-Q8TX", "--json")
        assert (told.status, told.object["state"]) == (ExitStatus.REFUSED, "unknown_99")
        told = till.run("redeem", "K7M3-Q8TX", "--offer", "o", "--json")
        assert (told.status, told.object["reason"]) == (ExitStatus.REFUSED, "unknown_98")


def test_what_the_service_says_is_no_command_to_the_terminal(tmp_path: Path) -> None:
    """Control characters in a name are shown as question marks."""

    def behave(call: Received, context: grpc.ServicerContext) -> Message:
        seen = messages.ScannedPass(state=messages.SCAN_STATE_VALID, holder_name="\x1b]0;x\x07Zoë")
        return messages.VerifyPassResponse(state=messages.SCAN_STATE_VALID, passes=[seen])

    with serve(behave) as service:
        told = make_till(tmp_path, service.address).run("verify", "K7M3-Q8TX", "--names")
    assert told.status is ExitStatus.DONE
    assert "?]0;x?Zoë" in told.out
    assert "\x1b" not in told.out


def test_attention_and_demands_are_told(tmp_path: Path) -> None:
    """What staff shall do is told; what the holder's values say is counted, and shown with
    --names."""

    def behave(call: Received, context: grpc.ServicerContext) -> Message:
        seen = messages.ScannedPass(
            state=messages.SCAN_STATE_VALID,
            attention_texts=["Allergic to nuts"],
            thumbnail_url="https://example.com/zoe.jpg",
            demands=[messages.STAFF_DEMAND_LOOK_AT_PHOTO],
            offers=[
                messages.OfferStanding(
                    offer_id="o1",
                    display_name="Coffee",
                    demands=[messages.STAFF_DEMAND_ASK_FOR_ID],
                )
            ],
        )
        return messages.VerifyPassResponse(state=messages.SCAN_STATE_VALID, passes=[seen])

    with serve(behave) as service:
        till = make_till(tmp_path, service.address)
        plain, named = [till.run("verify", "K7M3-Q8TX", *more).out for more in ((), ("--names",))]
        told = till.run("verify", "K7M3-Q8TX", "--json").out
    for out in (plain, named):
        assert "demand: look at photo" in out
        assert "! ask for id" in out
    assert "1 (--names shows it)" in plain
    assert "nuts" not in plain + told
    assert "zoe.jpg" not in plain + told
    assert "Allergic to nuts" in named
