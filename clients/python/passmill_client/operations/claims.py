"""EnrolmentService: claim links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypedDict, Unpack

from passmill.v1 import enrolment_service_pb2 as pb
from passmill.v1.enrolment_pb2 import (
    ClaimAnswers,
    ClaimField,
    ClaimLink,
    ClaimLinkDraft,
    ClaimRecovery,
    ClaimTemplate,
    CreatedClaimLink,
)
from passmill.v1.wallet_pass_pb2 import PassDraft
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of
from passmill_client.values import to_timestamp

_SERVICE = pb.DESCRIPTOR.services_by_name["EnrolmentService"]


class LinkTerms(TypedDict, total=False):
    """On what terms a link gives its passes. `max_uses`: once when left out, 0 for any number of
    times. The rest as in messages.ClaimLinkDraft."""

    max_uses: int
    once_per_person: bool
    expire_time: datetime
    campaign_id: str
    source: str
    utm: Mapping[str, str]
    default_region: str


def claim_link_draft(
    *,
    template_id: str = "",
    revision: int = 0,
    draft: PassDraft | None = None,
    fields: Iterable[ClaimField] = (),
    pass_id: str = "",
    **terms: Unpack[LinkTerms],
) -> ClaimLinkDraft:
    """A link to passes of a template, with what is known of their holder (`pass_draft`) and what
    whoever claims is asked for; or to a pass issued before, by its id."""
    if bool(template_id) == bool(pass_id):
        raise TypeError("give template_id or pass_id")
    max_uses = terms.get("max_uses", 1)
    wanted = ClaimLinkDraft(
        max_uses=max_uses,
        is_unlimited=max_uses == 0,
        once_per_person=terms.get("once_per_person", False),
        campaign_id=terms.get("campaign_id", ""),
        source=terms.get("source", ""),
        utm=terms.get("utm", {}),
        default_region=terms.get("default_region", ""),
    )
    if "expire_time" in terms:
        wanted.expire_time.CopyFrom(to_timestamp(terms["expire_time"]))
    if pass_id:
        wanted.pass_id = pass_id
    else:
        template = ClaimTemplate(
            template_id=template_id, revision=revision, draft=draft, fields=fields
        )
        wanted.template.CopyFrom(template)
    return wanted


def create_claim_link(
    draft: ClaimLinkDraft, **options: Unpack[ChangeOptions]
) -> Call[CreatedClaimLink]:
    """Makes a link (`claim_link_draft`). Its token is in this answer and nowhere else. Scope:
    issue."""
    request = pb.CreateClaimLinkRequest(draft=draft, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.CreateClaimLinkResponse, lambda answer: answer.created, options
    )


def batch_create_claim_links(
    drafts: Iterable[ClaimLinkDraft], **options: Unpack[ChangeOptions]
) -> Call[Sequence[CreatedClaimLink]]:
    """Makes up to 1,000 links, all or none, in their order. Scope: issue."""
    request = pb.BatchCreateClaimLinksRequest(drafts=drafts, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.BatchCreateClaimLinksResponse, lambda answer: answer.created, options
    )


def get_claim_link(link_id: str, **options: Unpack[ReadOptions]) -> Call[ClaimLink]:
    """Gives one link. Scope: read."""
    request = pb.GetClaimLinkRequest(link_id=link_id)
    return call_of(_SERVICE, request, pb.GetClaimLinkResponse, lambda answer: answer.link, options)


def list_claim_links(
    *,
    campaign_id: str = "",
    source: str = "",
    page_size: int = 500,
    **options: Unpack[ReadOptions],
) -> Listing[ClaimLink]:
    """Lists links, oldest first; of a campaign, or with a source. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[ClaimLink], str]]:
        return call_of(
            _SERVICE,
            pb.ListClaimLinksRequest(
                campaign_id=campaign_id, source=source, page_size=page_size, page_token=token
            ),
            pb.ListClaimLinksResponse,
            lambda answer: (answer.links, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def revoke_claim_link(link_id: str, **options: Unpack[ChangeOptions]) -> Call[ClaimLink]:
    """Ends a link; what was claimed by it stays. Scope: issue."""
    request = pb.RevokeClaimLinkRequest(link_id=link_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.RevokeClaimLinkResponse, lambda answer: answer.link, options
    )


def resolve_claim(
    token: str, *, claim_key: str = "", **options: Unpack[ReadOptions]
) -> Call[pb.ResolveClaimResponse]:
    """Says what a link gives and asks for, and uses nothing of it up. No scope: the token is the
    credential."""
    request = pb.ResolveClaimRequest(token=token, claim_key=claim_key)
    return call_of(_SERVICE, request, pb.ResolveClaimResponse, lambda answer: answer, options)


def claim_pass(
    token: str,
    claim_key: str,
    *,
    answers: ClaimAnswers | None = None,
    **options: Unpack[ReadOptions],
) -> Call[pb.ClaimPassResponse]:
    """Claims a pass. `claim_key`: random (`secrets.token_urlsafe(16)`), kept by whoever claims: the
    same again gives the same pass and uses nothing more up. No scope."""
    request = pb.ClaimPassRequest(token=token, claim_key=claim_key, answers=answers)
    return call_of(_SERVICE, request, pb.ClaimPassResponse, lambda answer: answer, options)


def request_claim_recovery(
    token: str, *, answers: ClaimAnswers | None = None, **options: Unpack[ReadOptions]
) -> Call[ClaimRecovery]:
    """Has the operator asked to send a claimed pass to what is known of its holder; tells by what,
    CHANNEL_UNSPECIFIED for not at all, and always of a link for several people. No scope."""
    request = pb.RequestClaimRecoveryRequest(token=token, answers=answers)
    return call_of(
        _SERVICE, request, pb.RequestClaimRecoveryResponse, lambda answer: answer.recovery, options
    )
