"""Every method of the protocol with a request that it takes, so that no test forgets one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from passmill.rpc.convert_template import content_to_proto
from passmill.rpc.door import MethodRule
from passmill.v1 import (
    access_service_pb2,
    admin_service_pb2,
    api_scope_pb2,
    campaign_pb2,
)
from passmill.v1 import campaign_service_pb2 as campaigns_pb2
from passmill.v1 import device_service_pb2 as devices_pb2
from passmill.v1 import enrolment_pb2 as claims_pb2
from passmill.v1 import enrolment_service_pb2 as enrolment_pb2
from passmill.v1 import event_service_pb2 as events_pb2
from passmill.v1 import pass_service_pb2 as passes_pb2
from passmill.v1 import program_service_pb2 as programs_pb2
from passmill.v1 import template_service_pb2 as templates_pb2
from passmill.v1.program_pb2 import Program
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassRef
from tests.support.balance_samples import balance_requests, hold_request
from tests.support.balances import open_till
from tests.support.campaigns import ClubCampaigns, chunk, recipient
from tests.support.channels import keyed, send_bytes, stream_bytes
from tests.support.claims import ClubLinks, new_key
from tests.support.counter_samples import counter_ids, counter_requests
from tests.support.holder_samples import holder_requests
from tests.support.holders import Desk, card
from tests.support.png import draw_png
from tests.support.service import Club, Service, Tenant, by_id, certificate, meta
from tests.support.small_card import draft, small_card

# A resource inside a request is what an update shall make of it; its ids are not looked at. What is
# wrong with a recipient, or a keyed entry, is told of it alone.
RESOURCES: Final = {
    "Pass",
    "Program",
    "Template",
    "TemplateContent",
    "RequestMeta",
    "Recipient",
    "KeyedEntry",
    "Offer",
    "CounterPolicy",
    "Chain",
    "ScanRef",
    "OfflineScan",
}
# What a message must hold besides, where a path leads through one that a sample does not have.
BRANCHES: Final[dict[str, Message]] = {
    "NotifyAction": campaign_pb2.NotifyAction(template_id="x", slot="tier", message="x"),
    "ValueCondition": campaign_pb2.ValueCondition(slot="tier"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method, its rule, and the port it is served on."""

    descriptor: MethodDescriptor
    rule: MethodRule
    is_admin: bool

    @property
    def name(self) -> str:
        """Its name, which no other service has."""
        return str(self.descriptor.name)

    @property
    def path(self) -> str:
        """Its path in HTTP/2."""
        return f"/{self.descriptor.containing_service.full_name}/{self.descriptor.name}"

    async def send(
        self,
        service: Service,
        api_key: str,
        content: bytes,
        **options: float | None,
    ) -> bytes:
        """Calls it with a request's bytes; gives the answer's, the first one of a stream.
        AioRpcError when it is refused."""
        channel = keyed(service.admin if self.is_admin else service.api, api_key)
        return await self.send_by(channel, content, **options)

    async def send_by(self, channel: grpc.aio.Channel, content: bytes, **options: Any) -> bytes:
        """The same over a channel."""
        if self.descriptor.server_streaming:
            is_sending = self.descriptor.client_streaming
            return await stream_bytes(channel, self.path, content, is_sending=is_sending, **options)
        return await send_bytes(channel, self.path, content, **options)


def every_method(service: Service) -> list[Method]:
    """All methods that are served."""
    return [
        Method(descriptor=method, rule=rules[method.name], is_admin=is_admin)
        for is_admin, published in (
            (False, service.services.public),
            (True, service.services.admin),
        )
        for descriptor, (_, rules) in published.items()
        for method in descriptor.methods
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """The names of one tenant's things, by the field that takes them."""

    by_field: dict[str, str]
    claim_token: str  # of a link to a pass, which anybody may claim

    def __getitem__(self, field: str) -> str:
        return self.by_field[field]


async def ids_of(club: Club) -> Ids:
    """Issues a pass, makes a key and a campaign with a stream, finds the identity: one thing of
    each kind."""
    tenant = club.tenant
    campaigns = ClubCampaigns(club=club)
    campaign = await campaigns.create()
    stream = await campaigns.open_stream(campaign)
    issued = await club.issue()
    operator = tenant.service.operator
    listing = admin_service_pb2.ListSigningIdentitiesRequest(tenant_id=tenant.tenant_id)
    identities = (await operator.ListSigningIdentities(listing)).signing_identities
    key = await operator.CreateApiKey(_key_request(tenant))
    rotate = admin_service_pb2.RotateBarcodeKeyRequest(tenant_id=tenant.tenant_id, meta=meta())
    barcode_key = (await operator.RotateBarcodeKey(rotate)).barcode_key
    till = await open_till(club)
    posted = await till.post(issued, 100)
    held = await till.stub.HoldBalance(hold_request(by_id(issued), meta()))
    gives = claims_pb2.ClaimLinkDraft(pass_id=issued.pass_id, is_unlimited=True)
    link = await ClubLinks(club=club).create_from(gives)
    linked = await Desk(club=club).link(issued, card(issued.pass_id))
    return Ids(
        claim_token=link.token,
        by_field={
            "tenant_id": tenant.tenant_id,
            "key_id": key.api_key.key_id,
            "barcode_key_id": barcode_key.barcode_key_id,
            "signing_identity_id": identities[0].signing_identity_id,
            "program_id": club.program_id,
            "template_id": club.template_id,
            "pass_id": issued.pass_id,
            "reference_id": issued.reference_id,
            "serial_number": issued.serial_number,
            "campaign_id": campaign.campaign_id,
            "stream_id": stream.stream_id,
            "entry_id": posted.entry.entry_id,
            "posted_request_id": posted.entry.request_id,
            "hold_id": held.hold.hold_id,
            **await counter_ids(club, issued),
            "link_id": link.link.link_id,
            "holder_id": linked.holder_id,
        },
    )


async def sample_requests(club: Club, ids: Ids, *, validate_only: bool) -> dict[str, Message]:
    """A request that each method takes, by the method's name; each with a request id of its own."""

    def new() -> Any:
        return meta(validate_only=validate_only)

    tenant_id = club.tenant.tenant_id
    ref = PassRef(pass_id=ids["pass_id"])
    content = content_to_proto(await club.tenant.with_assets(small_card()))
    program: dict[str, Any] = {"program_id": club.program_id}
    template: dict[str, Any] = {"template_id": club.template_id}
    identity: dict[str, Any] = {
        "tenant_id": tenant_id,
        "signing_identity_id": ids["signing_identity_id"],
    }
    campaign: dict[str, Any] = {"campaign_id": ids["campaign_id"]}
    stream = campaign_pb2.RecipientStream(stream_id=ids["stream_id"], writer_epoch=1)
    recipients = chunk(stream, [recipient("1")])
    issued = certificate("pass.com.example.another")
    wanted_link = ClubLinks(club=club).wanted(known=draft())
    requests: list[Message] = [
        passes_pb2.IssuePassRequest(**template, draft=draft(), meta=new()),
        passes_pb2.BatchIssuePassesRequest(**template, drafts=[draft()], meta=new()),
        passes_pb2.GetPassRequest(ref=ref),
        passes_pb2.ListPassesRequest(
            filter={"external_id": {"system": "crm", "id": "1"}}  # type: ignore[arg-type]
        ),
        passes_pb2.UpdatePassRequest(
            ref=ref,
            wallet_pass=Pass(holder=Holder(name="Grace")),
            update_mask={"paths": ["holder", "values.note"]},  # type: ignore[arg-type]
            meta=new(),
        ),
        passes_pb2.VoidPassRequest(ref=ref, meta=new()),
        passes_pb2.ReinstatePassRequest(ref=ref, meta=new()),
        passes_pb2.GetPassBundleRequest(ref=ref),
        passes_pb2.GetPassesBundleRequest(refs=[ref]),
        access_service_pb2.GetCallerRequest(),
        programs_pb2.CreateProgramRequest(
            display_name="x", pass_type_identifier="pass.com.example.x", meta=new()
        ),
        programs_pb2.UpdateProgramRequest(
            **program,
            program=Program(display_name="y"),
            update_mask={"paths": ["display_name"]},  # type: ignore[arg-type]
            meta=new(),
        ),
        programs_pb2.ArchiveProgramRequest(**program, meta=new()),
        programs_pb2.GetProgramRequest(**program),
        programs_pb2.ListProgramsRequest(),
        templates_pb2.CreateTemplateRequest(
            **program, display_name="x", content=content, meta=new()
        ),
        templates_pb2.UpdateTemplateRequest(
            **template,
            template=templates_pb2.Template(display_name="y", content=content),
            update_mask={"paths": ["display_name", "content"]},  # type: ignore[arg-type]
            meta=new(),
        ),
        templates_pb2.PublishTemplateRequest(**template, meta=new()),
        templates_pb2.ArchiveTemplateRequest(**template, meta=new()),
        templates_pb2.GetTemplateRequest(**template),
        templates_pb2.ListTemplatesRequest(),
        templates_pb2.GetTemplateRevisionRequest(**template, revision=1),
        templates_pb2.ListTemplateRevisionsRequest(**template),
        templates_pb2.UploadAssetRequest(content=draw_png(9, 9, "#101010"), meta=new()),
        templates_pb2.PreviewPassRequest(**template, draft=draft()),
        campaigns_pb2.CreateCampaignRequest(
            display_name="x",
            action=ClubCampaigns(club=club).issue_action(),
            meta=new(),
        ),
        campaigns_pb2.GetCampaignRequest(**campaign),
        campaigns_pb2.ListCampaignsRequest(),
        campaigns_pb2.CreateRecipientStreamRequest(**campaign, meta=new()),
        campaigns_pb2.GetRecipientStreamRequest(stream_id=stream.stream_id),
        campaigns_pb2.ClaimRecipientStreamRequest(stream_id=stream.stream_id, meta=new()),
        campaigns_pb2.AppendRecipientsRequest(chunk=recipients),
        campaigns_pb2.AppendRecipientChunkRequest(chunk=recipients),
        campaigns_pb2.FinalizeRecipientStreamRequest(
            stream_id=stream.stream_id, writer_epoch=1, expected_rows=0, meta=new()
        ),
        campaigns_pb2.PreviewCampaignRequest(**campaign),
        campaigns_pb2.StartCampaignRequest(**campaign, meta=new()),
        campaigns_pb2.PauseCampaignRequest(**campaign, meta=new()),
        campaigns_pb2.ResumeCampaignRequest(**campaign, meta=new()),
        campaigns_pb2.CancelCampaignRequest(**campaign, meta=new()),
        campaigns_pb2.WatchCampaignRequest(**campaign),
        campaigns_pb2.ListRecipientsRequest(**campaign),
        campaigns_pb2.RetryRecipientsRequest(**campaign, meta=new()),
        campaigns_pb2.ExportResultsRequest(**campaign),
        campaigns_pb2.RollBackCampaignRequest(**campaign, meta=new()),
        devices_pb2.ListRegistrationsRequest(ref=ref),
        devices_pb2.GetInstallStatisticsRequest(
            filter=devices_pb2.GetInstallStatisticsRequest.Filter(**program, **template, **campaign)
        ),
        devices_pb2.GetPushStatisticsRequest(pass_type_identifier="pass.com.example.club"),
        devices_pb2.GetConvergenceRequest(**template),
        devices_pb2.RequestPushRequest(**template, meta=new()),
        *balance_requests(club, ids.by_field, new),
        *await counter_requests(club, ids.by_field, new),
        enrolment_pb2.CreateClaimLinkRequest(draft=wanted_link, meta=new()),
        enrolment_pb2.BatchCreateClaimLinksRequest(drafts=[wanted_link], meta=new()),
        enrolment_pb2.GetClaimLinkRequest(link_id=ids["link_id"]),
        enrolment_pb2.ListClaimLinksRequest(),
        enrolment_pb2.RevokeClaimLinkRequest(link_id=ids["link_id"], meta=new()),
        enrolment_pb2.ResolveClaimRequest(token=ids.claim_token),
        enrolment_pb2.ClaimPassRequest(token=ids.claim_token, claim_key=new_key()),
        enrolment_pb2.RequestClaimRecoveryRequest(token=ids.claim_token),
        events_pb2.WatchEventsRequest(),
        events_pb2.ListEventsRequest(),
        *holder_requests(ids.by_field, new),
        admin_service_pb2.CreateTenantRequest(display_name="x", meta=new()),
        admin_service_pb2.SetTenantStateRequest(
            tenant_id=tenant_id, state=admin_service_pb2.Tenant.STATE_ACTIVE, meta=new()
        ),
        admin_service_pb2.GetTenantRequest(tenant_id=tenant_id),
        admin_service_pb2.ListTenantsRequest(),
        _key_request(club.tenant, validate_only=validate_only),
        admin_service_pb2.RevokeApiKeyRequest(
            tenant_id=tenant_id, key_id=ids["key_id"], meta=new()
        ),
        admin_service_pb2.ListApiKeysRequest(tenant_id=tenant_id),
        admin_service_pb2.UploadSigningIdentityRequest(
            tenant_id=tenant_id,
            pem=admin_service_pb2.PemIdentity(
                certificate=issued.certificate_pem, private_key=issued.private_key_pem
            ),
            intermediates=[issued.wwdr_pem],
            meta=new(),
        ),
        admin_service_pb2.CheckSigningIdentityRequest(**identity),
        admin_service_pb2.ListSigningIdentitiesRequest(tenant_id=tenant_id),
        admin_service_pb2.ActivateSigningIdentityRequest(**identity, meta=new()),
        admin_service_pb2.RotateBarcodeKeyRequest(tenant_id=tenant_id, meta=new()),
        admin_service_pb2.RevokeBarcodeKeyRequest(
            tenant_id=tenant_id, barcode_key_id=ids["barcode_key_id"], meta=new()
        ),
        admin_service_pb2.ListBarcodeKeysRequest(tenant_id=tenant_id),
    ]
    return {_method_name(request): request for request in requests}


def _key_request(
    tenant: Tenant, *, validate_only: bool = False
) -> admin_service_pb2.CreateApiKeyRequest:
    return admin_service_pb2.CreateApiKeyRequest(
        tenant_id=tenant.tenant_id,
        display_name="till",
        scopes=[api_scope_pb2.API_SCOPE_READ],
        meta=meta(validate_only=validate_only),
    )


def _method_name(request: Message) -> str:
    return str(request.DESCRIPTOR.name).removesuffix("Request")


def id_paths(message: Descriptor) -> Iterator[tuple[str, ...]]:
    """The paths of the fields that name something, through messages that are no resources."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            if field.name.endswith("_id") or field.name == "serial_number":
                yield (field.name,)
        elif (inner := _searched(field)) is not None and inner.name not in RESOURCES:
            for path in id_paths(inner):
                yield (field.name, *path)


def text_paths(message: Descriptor, depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The paths of all texts, six messages deep at most; of maps, the key's with a trailing ""."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (field.name,)
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield (field.name, "")
            value = field.message_type.fields_by_name["value"]
            if value.type == FieldDescriptor.TYPE_STRING:
                yield (field.name, "value")
            elif value.message_type is not None:
                for path in text_paths(value.message_type, depth + 1):
                    yield (field.name, "value", *path)
        elif (inner := _searched(field)) is not None and depth < 6:
            for path in text_paths(inner, depth + 1):
                yield (field.name, *path)


def _searched(field: FieldDescriptor) -> Descriptor | None:
    """The message in a field, unless it is one of Google's."""
    message = field.message_type
    return None if message is None or message.full_name.startswith("google.") else message


def with_text(request: Message, path: tuple[str, ...], text: str) -> Message:
    """A copy of a request with another text at a path; lists have it in their first element."""
    copy = type(request)()
    copy.CopyFrom(request)
    _set(copy, path, text)
    return copy


def _set(message: Any, path: tuple[str, ...], text: str) -> None:
    name, *rest = path
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _set_in_map(getattr(message, name), field.message_type, tuple(rest), text)
    elif rest:
        inner = getattr(message, name)
        if field.is_repeated:
            inner = inner[0] if inner else inner.add()
        elif not message.HasField(name):
            inner.CopyFrom(BRANCHES.get(inner.DESCRIPTOR.name, type(inner)()))
            inner.SetInParent()
        _set(inner, tuple(rest), text)
    elif field.is_repeated:
        del getattr(message, name)[:]
        getattr(message, name).append(text)
    else:
        setattr(message, name, text)


def _set_in_map(entries: Any, entry: Descriptor, path: tuple[str, ...], text: str) -> None:
    holds_messages = entry.fields_by_name["value"].message_type is not None
    if path == ("",):
        if holds_messages:
            entries[text].SetInParent()
        else:
            entries[text] = "x"
    elif holds_messages:
        _set(entries["note"], path[1:], text)
    else:
        entries["crm"] = text
