"""Where an import goes: its campaign and its recipient stream, made or found again."""

from __future__ import annotations

from dataclasses import dataclass

from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.identity import ImportIdentity, was_sent
from passmill_client import Campaign, Client, PassmillError, Reply, messages
from passmill_client.operations.campaigns import Action

_OVER = frozenset({Campaign.STATE_CANCELLING, Campaign.STATE_CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The campaign as it is to be made."""

    name: str
    action: Action
    priority: messages.Campaign.Priority.ValueType
    rollout: messages.RolloutPlan | None


class Destination:
    """Of one import."""

    def __init__(self, client: Client, identity: ImportIdentity, wanted: Wanted) -> None:
        self._client = client
        self._identity = identity
        self._wanted = wanted

    def is_known(self) -> bool:
        """Whether the campaign was made before. PassmillError when it could not be made."""
        return was_sent(lambda: self._create(Reply(), validate_only=True))

    def campaign(self) -> tuple[Campaign, bool]:
        """The campaign as it is now, and whether it was made just now. CommandFailed when it was
        cancelled, PassmillError when it cannot be made."""
        reply = Reply()
        campaign = self._create(reply)
        if not reply.replayed:
            return campaign, True
        campaign = self._client.get_campaign(campaign.campaign_id)
        if campaign.state in _OVER:
            raise CommandFailed(
                f"This file was imported before, and the campaign {campaign.campaign_id} was"
                " cancelled: nothing is done. --run NAME imports the file anew, into another"
                " campaign; passes that the first one issued, and that were not voided, then have"
                " doubles."
            )
        return campaign, False

    def stream(self, campaign: Campaign, *, is_new: bool) -> messages.RecipientStream:
        """The stream, this command its writer while it is open. CommandFailed when rows of the
        file were loaded with other options."""
        request_id = self._identity.of_stream("stream")
        if not is_new and not self._has_stream(campaign):
            self._require_empty(campaign)
        reply = Reply()
        stream = self._client.create_recipient_stream(
            campaign.campaign_id, request_id=request_id, reply=reply
        )
        if is_new and not reply.replayed:
            return stream
        stream = self._client.get_recipient_stream(stream.stream_id)
        if stream.state == messages.RecipientStream.STATE_OPEN:
            stream = self._client.claim_recipient_stream(stream.stream_id)
        return stream

    def _create(self, reply: Reply, *, validate_only: bool = False) -> Campaign:
        wanted = self._wanted
        return self._client.create_campaign(
            wanted.name,
            action=wanted.action,
            priority=wanted.priority,
            rollout=wanted.rollout,
            request_id=self._identity.of_campaign("campaign"),
            validate_only=validate_only,
            reply=reply,
        )

    def _has_stream(self, campaign: Campaign) -> bool:
        try:
            return was_sent(
                lambda: self._client.create_recipient_stream(
                    campaign.campaign_id,
                    request_id=self._identity.of_stream("stream"),
                    validate_only=True,
                )
            )
        except PassmillError as error:
            if error.reason == "CAMPAIGN_STATE":  # no draft, so it takes no stream more
                return False
            raise

    def _require_empty(self, campaign: Campaign) -> None:
        """Closes what other options opened, if nothing was loaded with them."""
        is_loaded = campaign.state != Campaign.STATE_DRAFT or campaign.progress.total > 0
        while not is_loaded and (stream_id := self._open_stream(campaign)):
            if self._has_stream(campaign):
                return  # another command, just like this one, opened it meanwhile
            other = self._client.claim_recipient_stream(stream_id)
            is_loaded = other.next_offset > 0
            if not is_loaded:
                self._client.finalize_recipient_stream(other, expected_rows=0)
        if is_loaded:
            raise CommandFailed(
                "This file was imported before with other options of reading it, or by another"
                f" version of passmill, into the campaign {campaign.campaign_id}: nothing is"
                " imported now. Rows that were refused then:"
                " import the reject file with the options given now. To go on where it stopped:"
                " repeat the options of that time. To import all rows anew, into another campaign:"
                " give --run NAME; who has a pass of the first one then gets a second."
            )

    def _open_stream(self, campaign: Campaign) -> str:
        """The id of a stream of a draft that is not finalized; empty when there is none."""
        try:
            # Nothing lists them; this says what a start would lack.
            self._client.start_campaign(campaign.campaign_id, validate_only=True)
        except PassmillError as error:
            return error.metadata.get("stream_id", "")
        return ""
