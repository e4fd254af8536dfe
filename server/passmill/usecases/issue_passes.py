"""Issue passes: one, or a batch from one template revision.

Intent before signature: what shall be signed is committed with the pass, then signed. A process
that dies in between leaves a row that the sweeper finishes; a retry gets the first answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from passmill.domain.callers import Caller
from passmill.domain.clock import Clock
from passmill.domain.ids import PassId, ProgramId, SigningIdentityId, TemplateId, new_uuid
from passmill.domain.passes import PassDraft, PassState, WalletPass, next_signing_time
from passmill.domain.reference_ids import ReferenceNumber
from passmill.errors import AppError, FieldError, Reason
from passmill.signing.identities import IdentityCache, require_team
from passmill.signing.native import SigningIdentity
from passmill.signing.revisions import LoadedRevision
from passmill.store.answers import StoredAnswer
from passmill.usecases.issue_group import IssueGroups, PreparedIssue, RenderedPass
from passmill.usecases.load_revision import LoadRevision
from passmill.usecases.mutation import Answer, Mutation, Mutator
from passmill.usecases.pass_content import (
    CheckedDraft,
    PassContents,
    TenantContent,
    check_draft,
    digest_of,
    size_refused,
)
from passmill.usecases.tenant_numbers import TenantNumbers

# Values of more characters than this may make a pass too large: a trial tells.
_LARGE_VALUES = 4_096
# So many passes are rendered before others on the loop get their turn.
_RENDERED_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedPass:
    """A pass as the answer tells of it: without what it says of its holder."""

    wallet_pass: WalletPass
    serial_number: str
    program_id: ProgramId
    template_id: TemplateId
    revision_number: int


IssueOutcome = IssuedPass | AppError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuer:
    """What all passes of one request share."""

    loaded: LoadedRevision
    identity_id: SigningIdentityId
    identity: SigningIdentity
    content: TenantContent


class IssuePasses:
    """Issues the drafts of one request, each to an outcome of its own."""

    def __init__(
        self,
        *,
        mutator: Mutator,
        load_revision: LoadRevision,
        identities: IdentityCache,
        numbers: TenantNumbers,
        contents: PassContents,
        groups: IssueGroups,
        clock: Clock,
    ) -> None:
        self._mutator = mutator
        self._load_revision = load_revision
        self._identities = identities
        self._numbers = numbers
        self._contents = contents
        self._groups = groups
        self._clock = clock

    async def __call__(
        self,
        mutation: Mutation[Sequence[IssueOutcome]],
        *,
        template_id: str,
        revision: int,
        drafts: Sequence[PassDraft],
        path: Callable[[int], str],
        all_or_none: bool,
        is_single: bool = False,
        replaces: PassId | None = None,
    ) -> Answer:
        """Issues passes; `mutation.encode` gets an outcome for each draft, in their order.

        `path`: a draft's place in the request, for errors. `all_or_none`: one draft refused refuses
        the request; `is_single`: with its own error, for it is no batch. `replaces`: a pass whose
        place they take; what that has used, they have. AppError: INVALID_VALUES
        of a single draft, BATCH_REFUSED of a batch, REVISION_NOT_PUBLISHED, TEMPLATE_ARCHIVED,
        PROGRAM_ARCHIVED, NO_SIGNING_IDENTITY, SIGNING_IDENTITY_EXPIRED, REQUEST_ID_REUSED.
        """
        caller = mutation.caller
        try:
            issuer = await self._issuer(caller, template_id, revision)
            checked = self._check(issuer, drafts, path)
            if all_or_none:
                _require_all(checked, is_single=is_single)
        except AppError:
            # What was issued stays issued, even if the same request would be refused today.
            if kept := await self._mutator.replay(mutation):
                return kept
            raise
        if mutation.validate_only:
            await self._mutator.replay(mutation)  # refuses a request id that is used
            answer = self._dry_run(mutation, issuer, drafts, checked, path)
            return Answer(content=answer, is_replayed=False)

        count = sum(1 for each in checked if isinstance(each, CheckedDraft))
        references = iter(await self._numbers.take_references(caller, count))
        outcomes: list[IssueOutcome] = []
        rendered: list[RenderedPass] = []
        for index, (draft, each) in enumerate(zip(drafts, checked, strict=True)):
            if isinstance(each, AppError):
                outcomes.append(each)
                continue
            issued, one = self._render(issuer, draft, each, next(references), path(index))
            outcomes.append(issued)
            rendered.append(one)
            if len(rendered) % _RENDERED_AT_ONCE == 0:
                await asyncio.sleep(0)
        issue = PreparedIssue(
            answer=StoredAnswer(
                request_id=mutation.request_id,
                method=mutation.method,
                fingerprint=mutation.fingerprint,
                answer=mutation.encode(outcomes),
            ),
            rendered=rendered,
            loaded=issuer.loaded,
            identity=issuer.identity,
            replaces=replaces,
        )
        if await self._groups.submit(caller, issue):
            return Answer(content=issue.answer.answer, is_replayed=False)
        kept = await self._mutator.replay(mutation)
        if kept is None:
            raise AppError(reason=Reason.UNAVAILABLE, message="The first answer is gone. Retry.")
        return kept

    async def _issuer(self, caller: Caller, template_id: str, revision: int) -> _Issuer:
        loaded = await self._load_revision.for_issue(caller, template_id, revision)
        identity_id, identity = await self._identities.active(
            caller, loaded.revision.pass_type_identifier
        )
        require_team(identity, loaded.revision.team_identifier)
        content = await self._contents.to_make(caller, [loaded])
        return _Issuer(loaded=loaded, identity_id=identity_id, identity=identity, content=content)

    def _check(
        self,
        issuer: _Issuer,
        drafts: Sequence[PassDraft],
        path: Callable[[int], str],
    ) -> list[CheckedDraft | AppError]:
        checked: list[CheckedDraft | AppError] = []
        for index, draft in enumerate(drafts):
            try:
                one = check_draft(issuer.loaded, draft, path=path(index))
                if len(one.slot_values) > _LARGE_VALUES:
                    self._render(issuer, draft, one, ReferenceNumber(0), path(index))
                checked.append(one)
            except AppError as error:
                checked.append(error)
        return checked

    def _render(
        self,
        issuer: _Issuer,
        draft: PassDraft,
        checked: CheckedDraft,
        reference: ReferenceNumber,
        path: str,
    ) -> tuple[IssuedPass, RenderedPass]:
        now = self._clock.now()
        wallet_pass = WalletPass(
            pass_id=PassId(new_uuid()),
            revision_id=issuer.loaded.revision.revision_id,
            signing_identity_id=issuer.identity_id,
            reference_number=reference,
            create_time=now,
            signing_time=next_signing_time(now, previous=None),
            expire_time=draft.expire_time,
            version=1,
            token_generation=0,
            state=PassState.ACTIVE,
            holder=checked.holder,
            slot_values=checked.slot_values,
            void_reason="",
            digest=b"",
            signature=None,
            tags=checked.tags,
        )
        wallet_pass = issuer.content.sealed(issuer.loaded, wallet_pass)
        line = issuer.content.encode(issuer.loaded, wallet_pass)
        with size_refused(checked.values, path=path):
            wallet_pass = wallet_pass.with_digest(digest_of(issuer.loaded.render(line)))
        revision = issuer.loaded.revision
        issued = IssuedPass(
            wallet_pass=wallet_pass,
            serial_number=issuer.content.serial_number(wallet_pass.pass_id),
            program_id=revision.program_id,
            template_id=revision.template_id,
            revision_number=revision.number,
        )
        return issued, RenderedPass(wallet_pass=wallet_pass, line=line)

    def _dry_run(
        self,
        mutation: Mutation[Sequence[IssueOutcome]],
        issuer: _Issuer,
        drafts: Sequence[PassDraft],
        checked: Sequence[CheckedDraft | AppError],
        path: Callable[[int], str],
    ) -> bytes:
        # Rendered with throw-away numbers: an answer like the real one, of which nothing stays.
        return mutation.encode(
            [
                each
                if isinstance(each, AppError)
                else self._render(issuer, draft, each, ReferenceNumber(0), path(index))[0]
                for index, (draft, each) in enumerate(zip(drafts, checked, strict=True))
            ]
        )


def _require_all(checked: Sequence[CheckedDraft | AppError], *, is_single: bool) -> None:
    refused = [each for each in checked if isinstance(each, AppError)]
    if not refused:
        return
    if is_single:
        raise refused[0]
    fields: list[FieldError] = [field for error in refused for field in error.fields]
    raise AppError(
        reason=Reason.BATCH_REFUSED,
        message=f"{len(refused)} of {len(checked)} drafts were refused, so none was issued."
        f" The first: {refused[0].message}",
        fields=fields,
    )
