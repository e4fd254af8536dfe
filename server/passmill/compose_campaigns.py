"""What API processes serve about campaigns."""

from __future__ import annotations

from passmill.compose_frame import Frame
from passmill.rpc import campaign_service
from passmill.usecases.append_recipients import AppendRecipients
from passmill.usecases.cancel_campaign import CancelCampaign
from passmill.usecases.claim_recipient_stream import ClaimRecipientStream
from passmill.usecases.create_campaign import CreateCampaign
from passmill.usecases.create_recipient_stream import CreateRecipientStream
from passmill.usecases.export_results import ExportResults
from passmill.usecases.finalize_recipient_stream import FinalizeRecipientStream
from passmill.usecases.list_recipients import ListRecipients
from passmill.usecases.pause_campaign import PauseCampaign
from passmill.usecases.preview_campaign import PreviewCampaign
from passmill.usecases.resume_campaign import ResumeCampaign
from passmill.usecases.retry_recipients import RetryRecipients
from passmill.usecases.roll_back_campaign import RollBackCampaign
from passmill.usecases.show_campaigns import ShowCampaigns
from passmill.usecases.start_campaign import StartCampaign
from passmill.usecases.watch_campaign import WatchCampaign


def campaign_servicer(frame: Frame) -> campaign_service.CampaignServicer:
    """CampaignService on a frame."""
    database, mutator, clock = frame.database, frame.mutator, frame.clock
    rendering = frame.rendering
    show_campaigns = ShowCampaigns(database=database, clock=clock)
    list_recipients = ListRecipients(database=database, claim_tokens=frame.keyring.claim_tokens)
    return campaign_service.CampaignServicer(
        use_cases=campaign_service.CampaignUseCases(
            create_campaign=CreateCampaign(
                database=database,
                mutator=mutator,
                clock=clock,
                codec=frame.codec,
                load_revision=frame.load_revision,
            ),
            show_campaigns=show_campaigns,
            create_recipient_stream=CreateRecipientStream(mutator=mutator, clock=clock),
            claim_recipient_stream=ClaimRecipientStream(mutator=mutator),
            append_recipients=AppendRecipients(
                database=database,
                load_revision=frame.load_revision,
                numbers=rendering.numbers,
                metrics=frame.campaign_metrics,
            ),
            finalize_recipient_stream=FinalizeRecipientStream(mutator=mutator),
            preview_campaign=PreviewCampaign(
                database=database,
                load_revision=frame.load_revision,
                contents=rendering.contents,
                codec=frame.codec,
                clock=clock,
            ),
            start_campaign=StartCampaign(
                database=database,
                mutator=mutator,
                load_revision=frame.load_revision,
                identities=frame.identities,
                clock=clock,
            ),
            pause_campaign=PauseCampaign(mutator=mutator, clock=clock),
            resume_campaign=ResumeCampaign(mutator=mutator, clock=clock),
            cancel_campaign=CancelCampaign(mutator=mutator, clock=clock),
            watch_campaign=WatchCampaign(show_campaigns=show_campaigns),
            list_recipients=list_recipients,
            retry_recipients=RetryRecipients(mutator=mutator, clock=clock),
            export_results=ExportResults(list_recipients=list_recipients),
            roll_back_campaign=RollBackCampaign(mutator=mutator, clock=clock),
            load_revision=frame.load_revision,
            numbers=rendering.numbers,
        ),
        database=database,
        pages=frame.pages,
        public_url=frame.settings.web_service_url,
    )
