"""Between proto/passmill/v1/wallet_pass.proto and the pass domain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from passmill.domain.passes import Holder, PassDraft, PassState, WalletPass
from passmill.domain.reference_ids import format_reference_id
from passmill.domain.tags import canonical_tags
from passmill.domain.values import Value
from passmill.errors import AppError, invalid_field
from passmill.rpc.convert_template import values_from_proto, values_to_proto
from passmill.rpc.convert_time import time_from, timestamp
from passmill.usecases.find_pass import PassRef
from passmill.usecases.issue_passes import IssuedPass
from passmill.usecases.update_pass import PassPatch
from passmill.v1 import pass_service_pb2, wallet_pass_pb2

_STATES: Mapping[PassState, wallet_pass_pb2.Pass.State.ValueType] = {
    PassState.ACTIVE: wallet_pass_pb2.Pass.STATE_ACTIVE,
    PassState.VOIDED: wallet_pass_pb2.Pass.STATE_VOIDED,
}
_STATE_OF = {number: state for state, number in _STATES.items()}


def pass_draft_from_proto(message: wallet_pass_pb2.PassDraft) -> PassDraft:
    """A draft as sent; what cannot be read is among its problems."""
    values, violations = values_from_proto(message.values)
    problems = list(violations)
    expire_time = None
    try:
        expire_time = _expiry_from(message, path="expire_time")
    except AppError as error:
        problems += error.fields
    return PassDraft(
        holder=holder_from_proto(message.holder),
        values=values,
        expire_time=expire_time,
        tags=message.tags,
        problems=tuple(problems),
    )


def _expiry_from(
    message: wallet_pass_pb2.PassDraft | wallet_pass_pb2.Pass, *, path: str
) -> datetime | None:
    # A pass shows whole seconds; what is stored is what it shows.
    moment = time_from(message, "expire_time", path=path)
    return None if moment is None else moment.replace(microsecond=0)


def holder_from_proto(message: wallet_pass_pb2.Holder) -> Holder:
    """A holder as sent."""
    return Holder(name=message.name, phone=message.phone, external_ids=dict(message.external_ids))


def ref_from_proto(message: wallet_pass_pb2.PassRef) -> PassRef:
    """A reference as sent."""
    match message.WhichOneof("ref"):
        case "pass_id":
            return PassRef(pass_id=message.pass_id)
        case "serial_number":
            return PassRef(serial_number=message.serial_number)
        case _:
            return PassRef(reference_id=message.reference_id)


def state_from_proto(number: wallet_pass_pb2.Pass.State.ValueType) -> PassState | None:
    """A state, None for the unspecified one."""
    return _STATE_OF.get(number)


def pass_to_proto(issued: IssuedPass) -> wallet_pass_pb2.Pass:
    """A pass for the wire, in PASS_VIEW_BASIC: no word of its holder, for answers are kept."""
    wallet_pass = issued.wallet_pass
    message = wallet_pass_pb2.Pass(
        pass_id=str(wallet_pass.pass_id),
        program_id=str(issued.program_id),
        template_id=str(issued.template_id),
        revision=issued.revision_number,
        state=_STATES[wallet_pass.state],
        serial_number=issued.serial_number,
        reference_id=format_reference_id(wallet_pass.reference_number),
        create_time=timestamp(wallet_pass.create_time),
        update_time=timestamp(wallet_pass.signing_time),
        version=wallet_pass.version,
        etag=wallet_pass.etag,
    )
    if wallet_pass.expire_time is not None:
        message.expire_time.CopyFrom(timestamp(wallet_pass.expire_time))
    if wallet_pass.personalize_time is not None:
        message.personalize_time.CopyFrom(timestamp(wallet_pass.personalize_time))
    return message


def fill_content(
    message: wallet_pass_pb2.Pass,
    wallet_pass: WalletPass,
    values: Mapping[str, Value],
    *,
    expires_at: datetime | None,
) -> None:
    """Adds what PASS_VIEW_FULL has besides: holder, values, tags, why it was voided, and when it
    shows to expire."""
    if expires_at is not None:
        message.effective_expire_time.CopyFrom(timestamp(expires_at))
    message.holder.name = wallet_pass.holder.name
    message.holder.phone = wallet_pass.holder.phone
    message.holder.external_ids.update(wallet_pass.holder.external_ids)
    message.tags.extend(wallet_pass.tags)
    message.void_reason = wallet_pass.void_reason
    for name, value in values_to_proto(values).items():
        message.values[name].CopyFrom(value)


def patch_from_proto(request: pass_service_pb2.UpdatePassRequest) -> PassPatch:
    """What an update's mask names of its pass. AppError INVALID_FIELD for any other path."""
    wanted = request.wallet_pass
    values, problems = values_from_proto(wanted.values)
    reader = _MaskReader(wanted, values)
    for path in request.update_mask.paths:
        reader.read(path)
    if not request.update_mask.paths:
        raise invalid_field("update_mask", "must name at least one field")
    return PassPatch(
        holder_name=reader.holder_name,
        holder_phone=reader.holder_phone,
        external_ids=reader.external_ids,
        all_values=reader.all_values,
        some_values=reader.some_values,
        sets_expire_time=reader.sets_expire_time,
        expire_time=_expiry_from(wanted, path="wallet_pass.expire_time"),
        revision=reader.revision,
        tags=reader.tags,
        problems=tuple(problems),
    )


class _MaskReader:
    """Collects the parts of a pass that a mask's paths name."""

    def __init__(self, wanted: wallet_pass_pb2.Pass, values: Mapping[str, Value]) -> None:
        self._wanted = wanted
        self._values = values
        self.holder_name: str | None = None
        self.holder_phone: str | None = None
        self.external_ids: Mapping[str, str] | None = None
        self.all_values: Mapping[str, Value] | None = None
        self.some_values: dict[str, Value | None] = {}
        self.sets_expire_time = False
        self.revision: int | None = None
        self.tags: tuple[str, ...] | None = None

    def read(self, path: str) -> None:
        """Takes what one path names."""
        holder = self._wanted.holder
        match path.split("."):
            case ["holder"]:
                for part in ("name", "phone", "external_ids"):
                    self.read(f"holder.{part}")
            case ["holder", "name"]:
                self.holder_name = holder.name
            case ["holder", "phone"]:
                self.holder_phone = holder.phone
            case ["holder", "external_ids"]:
                self.external_ids = dict(holder.external_ids)
            case ["values"]:
                self.all_values = self._values
            case ["values", slot]:
                self.some_values[slot] = self._values.get(slot)
            case ["expire_time"]:
                self.sets_expire_time = True
            case ["revision" | "tags"]:
                self._read_beside(path)
            case _:
                raise invalid_field(
                    "update_mask",
                    f'"{path:.100}" cannot be updated; holder.name, holder.phone,'
                    " holder.external_ids, values, values.<slot>, expire_time, revision and tags"
                    " can",
                )

    def _read_beside(self, path: str) -> None:
        if path == "tags":
            self.tags = canonical_tags(self._wanted.tags)
        else:
            self.revision = self._wanted.revision
