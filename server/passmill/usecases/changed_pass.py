"""One pass before and after a change that a campaign makes, and why one is not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from passmill.domain.campaigns import Failure, FailureKind
from passmill.domain.pass_undo import undo_of, undo_to_json
from passmill.domain.passes import WalletPass, next_signing_time
from passmill.errors import AppError, Reason
from passmill.usecases.alterations import Alteration, Revisions
from passmill.usecases.pass_content import TenantContent, digest_of, size_refused
from passmill.usecases.shard_targets import Target

_MAX_MESSAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One pass before and after. `is_visible`: its content is another, so it is signed anew.
    `line`: what it is rendered from."""

    target: Target
    before: WalletPass
    after: WalletPass
    is_visible: bool
    line: bytes = field(repr=False)


def make_change(
    target: Target,
    current: WalletPass,
    altered: Alteration,
    revisions: Revisions,
    content: TenantContent,
    *,
    now: datetime,
) -> Changed:
    """The next version of a pass, with its content but without a signature. AppError INVALID_VALUES
    when it is too large."""
    loaded, version = revisions[altered.wallet_pass.revision_id], current.version + 1
    wallet_pass = content.sealed(loaded, altered.wallet_pass, before=current)
    line = content.encode(loaded, wallet_pass)
    with size_refused(altered.values, path="draft"):
        digest = digest_of(loaded.render(line))
    # What nobody can see on the pass needs no signature, and no phone needs to hear of it.
    is_visible = digest != current.digest or wallet_pass.revision_id != current.revision_id
    after = (
        replace(
            wallet_pass,
            version=version,
            signing_time=next_signing_time(now, previous=current.signing_time),
            digest=digest,
            signature=None,
        )
        if is_visible
        else replace(wallet_pass, version=version)
    )
    return Changed(target=target, before=current, after=after, is_visible=is_visible, line=line)


def undo_of_all(changed: Sequence[Changed]) -> str:
    """What these passes were before, as a shard keeps it."""
    return undo_to_json(
        [undo_of(each.before, each.after, external_id=each.target.external_id) for each in changed]
    )


def failure_of(target: Target, error: AppError) -> Failure:
    """That a recipient is not served, for this reason."""
    return Failure(
        row_offset=target.row_offset,
        kind=FailureKind.FAILED,
        external_id=target.external_id,
        reason=error.reason,
        message=error.message[:_MAX_MESSAGE],
    )


def moving() -> AppError:
    """UNAVAILABLE: others change it, or hold it, all the time."""
    return AppError(
        reason=Reason.UNAVAILABLE,
        message="The pass was changed by others all the time. Retry it.",
    )


def not_made() -> AppError:
    """INTERNAL: something that nobody foresaw."""
    return AppError(
        reason=Reason.INTERNAL,
        message="The pass could not be made. Retry, and tell your operator if it fails again.",
    )
