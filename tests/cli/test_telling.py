"""What commands say: of campaigns, of refusals, of what was called wrongly and of interruptions."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

import grpc
import pytest

from passmill.cli.campaign import arguments, watching
from passmill.cli.campaign.bundles import credentials_note
from passmill.cli.campaign.errors import Interrupted, explain
from passmill.cli.campaign.options import guarded
from passmill.cli.campaign.result_files import find_format
from passmill.cli.campaign.words import counted
from passmill_client import Campaign, PassmillError, messages
from passmill_client.errors import FieldProblem
from passmill_client.values import to_timestamp


def campaign(state: Campaign.State.ValueType, **rest: object) -> Campaign:
    """A campaign with an id."""
    found = Campaign(campaign_id="c1", state=state)
    for name, content in rest.items():
        if isinstance(content, datetime):
            getattr(found, name).CopyFrom(to_timestamp(content))
        else:
            setattr(found, name, content)
    return found


def test_a_campaign_that_ended_before_its_time_took_no_time() -> None:
    """Cancelled while it was scheduled: no duration below zero."""
    times = {"start_time": datetime(2099, 1, 1, tzinfo=UTC), "end_time": datetime.now(UTC)}
    told = "\n".join(watching.report(campaign(Campaign.STATE_CANCELLED, **times)))
    assert "took" not in told


def test_a_scheduled_campaign_says_when_and_a_paused_one_what_next() -> None:
    """The time is told with its zone, and each way on with its command."""
    scheduled = campaign(Campaign.STATE_SCHEDULED, start_time=datetime(2099, 1, 1, 9, tzinfo=UTC))
    assert watching.state_name(scheduled) == "scheduled for 2099-01-01 09:00 UTC"
    assert '"start_time": "2099-01-01T09:00:00Z"' in watching.as_json(scheduled)
    paused = campaign(Campaign.STATE_PAUSED, state_reason="canary")
    told = "\n".join(watching.report(paused))
    assert "`resume c1`" in told
    assert "`cancel c1`" in told
    assert "rollback" not in told
    paused.action.update.template_id = "t1"
    assert "`rollback c1`" in "\n".join(watching.report(paused))


def test_a_refusal_is_told_once_and_what_the_same_command_does_where_that_matters() -> None:
    """A field's problem that the message has already is not repeated; only when nobody knows
    whether it was done, the reader is told what running the command again does."""
    refusal = PassmillError(
        reason="INVALID_CAMPAIGN",
        message="slot: does not hold text",
        code=grpc.StatusCode.INVALID_ARGUMENT,
        fields=(FieldProblem(path="slot", message="does not hold text"),),
    )
    assert explain(refusal, again="Again.") == "slot: does not hold text (INVALID_CAMPAIGN)"
    lost = PassmillError(
        reason="DEADLINE_EXCEEDED", message="late", code=grpc.StatusCode.DEADLINE_EXCEEDED
    )
    assert explain(lost, again="Again.").endswith("Again.")
    assert explain(lost) == "late (DEADLINE_EXCEEDED)"


def test_ctrl_c_is_told_by_what_was_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    """A command says what the same command again does, or what goes on without it."""

    def interrupt(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    def stop_watching(_: argparse.Namespace) -> int:
        raise Interrupted("It goes on.")

    parsed = argparse.Namespace()
    assert guarded(interrupt, again="Starts over.")(parsed) == 130
    assert capsys.readouterr().err == "\nInterrupted. Starts over.\n"
    assert guarded(interrupt)(parsed) == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"
    assert guarded(stop_watching, again="Starts over.")(parsed) == 130
    assert capsys.readouterr().err == "\nInterrupted. It goes on.\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["create", "void", "--watch", "--of-campaign", "c1"], "--watch needs --start"),
        (["create", "void", "--canary", "x"], "'x' is no share from 0.0001% to 100%"),
        (["create", "void", "--with-tag", "VIP"], "'VIP' must be 1 to 64 of a-z, 0-9"),
        (["list", "--count", "x"], "'x' is no whole number from 1 on"),
        (["import", "a.csv", "--action", "notify", "--template", "t"], "needs --slot"),
        (["import", "a.csv", "--template", "t", "--slot", "news"], "of --action notify"),
    ],
)
def test_wrong_calls_are_told(
    capsys: pytest.CaptureFixture[str], command: list[str], told: str
) -> None:
    """What does not go together, or is no number, is named in plain words."""
    with pytest.raises(SystemExit) as ended:
        arguments.main(command)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_counts_and_formats() -> None:
    """One is no plural; .json is of lines of JSON when it is written, as when it is read."""
    assert [counted(number, "row") for number in (0, 1, 1000)] == ["0 rows", "1 row", "1,000 rows"]
    assert find_format("results.json", None) == "ndjson"
    assert find_format("results.txt", None) == "csv"


def test_where_credentials_are_looked_for_is_said() -> None:
    """A store without credentials in the environment is told to be asked by way of the machine;
    with them, or in a folder, there is nothing to say."""
    assert "AWS_ACCESS_KEY_ID" in credentials_note("s3://bucket/a", {})
    assert "169.254.169.254" in credentials_note("s3://bucket/a", {})
    assert credentials_note("s3://bucket/a", {"AWS_ACCESS_KEY_ID"}) == ""
    assert "GOOGLE_APPLICATION_CREDENTIALS" in credentials_note("gs://bucket", {})
    assert "AZURE_STORAGE_ACCOUNT_KEY" in credentials_note("az://box", {})
    assert credentials_note("/tmp/bundles", {}) == ""  # noqa: S108 - nothing is written


def test_json_has_what_programs_ask_for() -> None:
    """The JSON of a campaign has its action, template and priority for programs."""
    found = Campaign(action=messages.CampaignAction(update=messages.UpdateAction(template_id="t1")))
    told = watching.as_json(found)
    assert '"action": "update", "template_id": "t1"' in told
