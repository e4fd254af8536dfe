"""PassService: passes over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import Message

from passmill.domain.callers import Caller, Scope
from passmill.domain.ids import PassId, ProgramId, TemplateId, parse_uuid
from passmill.errors import AppError, not_found
from passmill.rpc.convert_pass import (
    fill_content,
    pass_draft_from_proto,
    pass_to_proto,
    patch_from_proto,
    ref_from_proto,
    state_from_proto,
)
from passmill.rpc.convert_time import time_from, timestamp
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.rpc.status import to_status
from passmill.store import passes
from passmill.store.database import Database
from passmill.store.passes import ListedPass, PassFilter
from passmill.store.programs import get_program
from passmill.store.templates import get_bare_template
from passmill.usecases.find_pass import FindPass
from passmill.usecases.get_pass_bundle import GetPassBundle
from passmill.usecases.issue_passes import IssuedPass, IssueOutcome, IssuePasses
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer
from passmill.usecases.pass_content import PassContents, stored_values
from passmill.usecases.reinstate_pass import ReinstatePass
from passmill.usecases.update_pass import UpdatePass
from passmill.usecases.void_pass import VoidPass
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1 import wallet_pass_pb2

SERVICE: Final = pb.DESCRIPTOR.services_by_name["PassService"]
RULES: Mapping[str, MethodRule] = {
    "IssuePass": MethodRule(scope=Scope.ISSUE, mutates=True),
    "BatchIssuePasses": MethodRule(scope=Scope.ISSUE, mutates=True),
    "GetPass": MethodRule(scope=Scope.READ),
    "ListPasses": MethodRule(scope=Scope.READ),
    "UpdatePass": MethodRule(scope=Scope.ISSUE, mutates=True),
    "VoidPass": MethodRule(scope=Scope.ISSUE, mutates=True),
    "ReinstatePass": MethodRule(scope=Scope.ISSUE, mutates=True),
    "GetPassBundle": MethodRule(scope=Scope.READ),
    "GetPassesBundle": MethodRule(scope=Scope.READ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PassUseCases:
    """What PassService calls."""

    issue_passes: IssuePasses
    update_pass: UpdatePass
    void_pass: VoidPass
    reinstate_pass: ReinstatePass
    find_pass: FindPass
    get_pass_bundle: GetPassBundle
    load_revision: LoadRevision
    contents: PassContents


class PassServicer:
    """Decodes, calls one use case, encodes."""

    def __init__(self, *, use_cases: PassUseCases, database: Database, pages: Pages) -> None:
        self._use_cases = use_cases
        self._database = database
        self._pages = pages

    async def issue_pass(self, request: pb.IssuePassRequest, call: Call) -> Answer:
        """Issues one pass."""

        def encode(outcomes: Sequence[IssueOutcome]) -> Message:
            [issued] = outcomes
            if isinstance(issued, AppError):
                raise issued
            return pb.IssuePassResponse(wallet_pass=pass_to_proto(issued))

        return await self._use_cases.issue_passes(
            call.mutation(request, encode),
            template_id=request.template_id,
            revision=request.revision,
            drafts=[pass_draft_from_proto(request.draft)],
            path=lambda _: "draft",
            all_or_none=True,
            is_single=True,
        )

    async def batch_issue_passes(self, request: pb.BatchIssuePassesRequest, call: Call) -> Answer:
        """Issues up to 500 passes."""

        def encode(outcomes: Sequence[IssueOutcome]) -> Message:
            return pb.BatchIssuePassesResponse(results=[_result(each) for each in outcomes])

        return await self._use_cases.issue_passes(
            call.mutation(request, encode),
            template_id=request.template_id,
            revision=request.revision,
            drafts=[pass_draft_from_proto(draft) for draft in request.drafts],
            path=lambda index: f"drafts[{index}]",
            all_or_none=request.atomic,
        )

    async def get_pass(self, request: pb.GetPassRequest, call: Call) -> Message:
        """Gives one pass."""
        listed = await self._use_cases.find_pass(call.caller, ref_from_proto(request.ref))
        is_basic = request.view == wallet_pass_pb2.PASS_VIEW_BASIC
        [wallet_pass] = await self._to_proto(call.caller, [listed], is_basic=is_basic)
        return pb.GetPassResponse(wallet_pass=wallet_pass)

    async def list_passes(self, request: pb.ListPassesRequest, call: Call) -> Message:
        """Gives a page of passes."""
        key = self._pages.key(request, request.page_token)
        size = self._pages.size(request.page_size)
        after = None if key is None else parse_uuid(str(key[0]))
        wanted = _filter(request.filter)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            if wanted.program_id is not None:
                await get_program(tx, wanted.program_id)
            if wanted.template_id is not None:
                await get_bare_template(tx, wanted.template_id)
            listed = await passes.list_passes(
                tx,
                wanted,
                after=None if after is None else PassId(after),
                at_most=size + 1,
            )
        page, more = listed[:size], len(listed) > size
        is_basic = request.view == wallet_pass_pb2.PASS_VIEW_BASIC
        return pb.ListPassesResponse(
            passes=await self._to_proto(call.caller, page, is_basic=is_basic),
            next_page_token=self._pages.token(request, [str(page[-1].wallet_pass.pass_id)])
            if more
            else "",
        )

    async def update_pass(self, request: pb.UpdatePassRequest, call: Call) -> Answer:
        """Changes a pass."""
        return await self._use_cases.update_pass(
            call.mutation(request, _in(pb.UpdatePassResponse)),
            ref=ref_from_proto(request.ref),
            etag=request.etag,
            patch=patch_from_proto(request),
        )

    async def void_pass(self, request: pb.VoidPassRequest, call: Call) -> Answer:
        """Makes a pass unusable."""
        return await self._use_cases.void_pass(
            call.mutation(request, _in(pb.VoidPassResponse)),
            ref=ref_from_proto(request.ref),
            etag=request.etag,
            reason=request.reason,
        )

    async def reinstate_pass(self, request: pb.ReinstatePassRequest, call: Call) -> Answer:
        """Makes a voided pass usable again."""
        return await self._use_cases.reinstate_pass(
            call.mutation(request, _in(pb.ReinstatePassResponse)),
            ref=ref_from_proto(request.ref),
            etag=request.etag,
        )

    async def get_pass_bundle(self, request: pb.GetPassBundleRequest, call: Call) -> Message:
        """Gives one .pkpass."""
        bundle = await self._use_cases.get_pass_bundle.one(call.caller, ref_from_proto(request.ref))
        return pb.GetPassBundleResponse(
            bundle=bundle.content,
            etag=bundle.wallet_pass.etag,
            update_time=timestamp(bundle.wallet_pass.signing_time),
        )

    async def get_passes_bundle(self, request: pb.GetPassesBundleRequest, call: Call) -> Message:
        """Gives several passes as one .pkpasses."""
        refs = [ref_from_proto(ref) for ref in request.refs]
        content = await self._use_cases.get_pass_bundle.many(call.caller, refs)
        return pb.GetPassesBundleResponse(bundle=content)

    async def _to_proto(
        self, caller: Caller, listed: Sequence[ListedPass], *, is_basic: bool
    ) -> list[wallet_pass_pb2.Pass]:
        content = await self._use_cases.contents.of(caller)
        messages = []
        for each in listed:
            wallet_pass = each.wallet_pass
            message = pass_to_proto(
                IssuedPass(
                    wallet_pass=wallet_pass,
                    serial_number=content.serial_number(wallet_pass.pass_id),
                    program_id=each.program_id,
                    template_id=each.template_id,
                    revision_number=each.revision_number,
                )
            )
            if not is_basic:
                loaded = await self._use_cases.load_revision.by_id(caller, wallet_pass.revision_id)
                values = stored_values(loaded, wallet_pass)
                fill_content(
                    message,
                    wallet_pass,
                    values,
                    expires_at=content.expires_at(loaded, wallet_pass, values),
                )
            messages.append(message)
        return messages


def _in(
    response: type[pb.UpdatePassResponse | pb.VoidPassResponse | pb.ReinstatePassResponse],
) -> Callable[[IssuedPass], Message]:
    """Puts a changed pass in the response message of its method."""
    return lambda issued: response(wallet_pass=pass_to_proto(issued))


def _result(outcome: IssueOutcome) -> pb.BatchIssueResult:
    if isinstance(outcome, AppError):
        return pb.BatchIssueResult(error=to_status(outcome))
    return pb.BatchIssueResult(wallet_pass=pass_to_proto(outcome))


def _filter(message: pb.ListPassesRequest.Filter) -> PassFilter:
    program_id = parse_uuid(message.program_id) if message.program_id else None
    template_id = parse_uuid(message.template_id) if message.template_id else None
    if message.program_id and program_id is None:
        raise not_found("program")
    if message.template_id and template_id is None:
        raise not_found("template")
    return PassFilter(
        program_id=None if program_id is None else ProgramId(program_id),
        template_id=None if template_id is None else TemplateId(template_id),
        state=state_from_proto(message.state),
        holder_phone=message.holder_phone or None,
        external_id=(message.external_id.system, message.external_id.id)
        if message.HasField("external_id")
        else None,
        created_from=time_from(message, "create_time_from", path="filter.create_time_from"),
        created_before=time_from(message, "create_time_before", path="filter.create_time_before"),
    )
