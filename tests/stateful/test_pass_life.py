"""The life of passes against a plain model: publish, issue, change, void, reinstate, retry, lose a
signature, sweep; after each step the service says what the model says."""

import asyncio
import unicodedata
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from passmill.domain.templates import Slot, SlotType
from passmill.v1 import pass_service_pb2 as pb
from passmill.v1.request_meta_pb2 import RequestMeta
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import verify
from tests.support.channels import keyed, send_bytes
from tests.support.postgres import Database
from tests.support.refusals import refused
from tests.support.service import (
    Club,
    Service,
    authority,
    basic,
    by_id,
    meta,
    open_service,
    update_request,
)
from tests.support.small_card import draft, small_card, value

T = TypeVar("T")

SEAT = Slot(name="seat", type=SlotType.TEXT)
LONG_AGO = timedelta(hours=1)

texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), max_size=20
).filter(lambda text: not any("\u202a" <= c <= "\u202e" or "\u2066" <= c <= "\u2069" for c in text))
names = texts.map(lambda text: unicodedata.normalize("NFC", text))
numbers = st.integers(min_value=-(1 << 63), max_value=(1 << 63) - 1)
versions = st.integers(min_value=1, max_value=9)


@dataclass(kw_only=True)
class Model:
    """What a pass must be."""

    issued: Pass
    name: str
    points: int
    note: str
    revision: int
    seat: str = ""
    is_voided: bool = False
    version: int = 1
    bundles: dict[object, bytes] = field(default_factory=dict)

    @property
    def visible(self) -> tuple[object, ...]:
        """What can be seen on the pass."""
        return (self.name, self.points, self.note, self.revision, self.seat, self.is_voided)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request that was answered."""

    method: str
    meta: RequestMeta
    content: bytes
    answer: bytes


class PassLife(RuleBasedStateMachine):
    """One tenant's passes."""

    passes: Bundle[Model] = Bundle("passes")
    sent: Bundle[Sent] = Bundle("sent")

    def __init__(self, runner: asyncio.Runner, service: Service) -> None:
        super().__init__()
        self._runner = runner
        self._service = service
        self._models: dict[str, Model] = {}

    @initialize()
    def make_club(self) -> None:
        """A tenant of its own, with one revision."""
        self._club: Club = self._run(self._service.add_club())
        self._has_seat = {1: False}

    def _run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._runner.run(wait())

    def _send(self, method: str, request: Any) -> Sent:
        """Sends a request as bytes and keeps the answer."""
        content = request.SerializeToString(deterministic=True)
        answer = self._answer(method, content)
        return Sent(method=method, meta=request.meta, content=content, answer=answer)

    def _answer(self, method: str, content: bytes) -> bytes:
        channel = keyed(self._service.api, self._club.tenant.member.api_key)

        async def wait() -> bytes:
            return await send_bytes(channel, f"/passmill.v1.PassService/{method}", content)

        return self._runner.run(wait())

    def _changed(self, model: Model, before: tuple[object, ...], answer: Pass) -> None:
        """Counts a change of a model, and compares with what was answered."""
        model.version += 1
        assert (answer.pass_id, answer.version) == (model.issued.pass_id, model.version)
        if model.visible == before:
            assert answer.update_time == model.issued.update_time
        else:
            assert answer.update_time.seconds > model.issued.update_time.seconds
        model.issued = answer

    @rule(has_seat=st.booleans())
    def publish(self, has_seat: bool) -> None:
        """A new revision, with one slot more or without it."""
        content = small_card(*([SEAT] if has_seat else []))
        number = self._run(self._club.tenant.publish(self._club.template_id, content))
        assert number == len(self._has_seat) + 1
        self._has_seat[number] = has_seat

    @rule(target=passes, name=names, points=numbers, note=names, revision=versions)
    def issue(self, name: str, points: int, note: str, revision: int) -> Any:
        """A pass of any revision there is."""
        number = revision if revision in self._has_seat else 0
        request = self._club.issue_request(draft(name, points=points, note=note), revision=number)
        sent = self._send("IssuePass", request)
        issued = pb.IssuePassResponse.FromString(sent.answer).wallet_pass
        model = Model(
            issued=issued,
            name=name,
            points=points,
            note=note,
            revision=number or max(self._has_seat),
        )
        self._models[issued.pass_id] = model
        return model

    @rule(target=passes, drafts=st.lists(st.tuples(names, numbers), min_size=1, max_size=5))
    def issue_batch(self, drafts: list[tuple[str, int]]) -> Any:
        """Several passes of the newest revision."""
        request = self._club.batch_request([draft(name, points=points) for name, points in drafts])
        results = self._run(self._club.passes.BatchIssuePasses(request)).results
        models = [
            Model(
                issued=result.wallet_pass,
                name=name,
                points=points,
                note="",
                revision=max(self._has_seat),
            )
            for result, (name, points) in zip(results, drafts, strict=True)
        ]
        self._models |= {model.issued.pass_id: model for model in models}
        return multiple(*models)

    @rule(
        target=sent,
        model=passes,
        name=st.none() | names,
        points=st.none() | numbers,
        note=st.none() | names,
        crm=st.none() | st.sampled_from("abc"),
    )
    def update(
        self, model: Model, name: str | None, points: int | None, note: str | None, crm: str | None
    ) -> Sent:
        """Changes any part, or what nobody sees."""
        wanted = Pass(holder=Holder(name=name or ""))
        paths = ["holder.external_ids"]
        wanted.holder.external_ids["crm"] = crm or "x"
        before = model.visible
        if name is not None:
            paths.append("holder.name")
            model.name = name
        if points is not None:
            paths.append("values.points")
            wanted.values["points"].integer = points
            model.points = points
        if note is not None:
            paths.append("values.note")
            wanted.values["note"].text = note
            model.note = note
        sent = self._send("UpdatePass", update_request(model.issued, *paths, wanted=wanted))
        answer = pb.UpdatePassResponse.FromString(sent.answer).wallet_pass
        self._changed(model, before, answer)
        return sent

    @rule(model=passes, revision=versions, seat=names)
    def move(self, model: Model, revision: int, seat: str) -> None:
        """Moves a pass to another revision, with a seat where there is one."""
        number = revision if revision in self._has_seat else max(self._has_seat)
        wanted, paths = Pass(revision=number), ["revision"]
        before = model.visible
        model.revision = number
        if self._has_seat[number]:
            paths.append("values.seat")
            wanted.values["seat"].text = seat
            model.seat = seat
        else:
            model.seat = ""
        answer = self._run(self._club.update(model.issued, *paths, wanted=wanted))
        self._changed(model, before, answer)

    @rule(target=sent, model=passes)
    def void(self, model: Model) -> Any:
        """Voids a pass, once."""
        request = pb.VoidPassRequest(ref=by_id(model.issued), reason="why", meta=meta())
        if model.is_voided:
            refusal = self._run(refused(self._club.passes.VoidPass(request)))
            assert refusal.reason == "PASS_VOIDED"
            return multiple()
        before = model.visible
        model.is_voided = True
        sent = self._send("VoidPass", request)
        self._changed(model, before, pb.VoidPassResponse.FromString(sent.answer).wallet_pass)
        return sent

    @rule(target=sent, model=passes)
    def reinstate(self, model: Model) -> Any:
        """Reinstates a pass, if it is voided."""
        request = pb.ReinstatePassRequest(ref=by_id(model.issued), meta=meta())
        if not model.is_voided:
            refusal = self._run(refused(self._club.passes.ReinstatePass(request)))
            assert refusal.reason == "PASS_NOT_VOIDED"
            return multiple()
        before = model.visible
        model.is_voided = False
        sent = self._send("ReinstatePass", request)
        self._changed(model, before, pb.ReinstatePassResponse.FromString(sent.answer).wallet_pass)
        return sent

    @rule(each=sent)
    def retry(self, each: Sent) -> None:
        """What was sent before is answered as before, and changes nothing."""
        assert self._answer(each.method, each.content) == each.answer

    @rule(each=consumes(sent), model=passes)
    def reuse(self, each: Sent, model: Model) -> None:
        """A used request id with another request is refused."""
        request = pb.VoidPassRequest(ref=by_id(model.issued), reason="another", meta=each.meta)
        refusal = self._run(refused(self._club.passes.VoidPass(request)))
        assert refusal.reason == "REQUEST_ID_REUSED"

    @rule(model=passes, age=st.integers(min_value=1, max_value=3))
    def change_with_a_stale_etag(self, model: Model, age: int) -> None:
        """An etag of before is refused."""
        stale = f"v{model.version - age}"
        wanted = Pass(values={"points": value(0)})
        request = update_request(model.issued, "values.points", wanted=wanted, etag=stale)
        refusal = self._run(refused(self._club.passes.UpdatePass(request)))
        assert refusal.reason == "ETAG_MISMATCH"

    @rule(model=passes)
    def take_bundle(self, model: Model) -> None:
        """The bundle verifies, shows the model, and has the same bytes as long as nothing that can
        be seen has changed since."""
        bundle = self._run(self._club.bundle(model.issued))
        shown = verify(bundle, authority())
        generic = shown["generic"]
        primary = [each["value"] for each in generic.get("primaryFields", [])]
        back = {each["key"]: each["value"] for each in generic.get("backFields", [])}
        assert shown.get("voided", False) == model.is_voided
        assert shown["serialNumber"] == model.issued.serial_number
        assert primary == ([model.name] if model.name else [])
        assert str(generic["headerFields"][0]["value"]) == str(model.points)
        assert back.get("note", "") == model.note
        assert back.get("seat", "") == model.seat
        signed = (model.visible, model.issued.update_time.seconds)
        assert model.bundles.setdefault(signed, bundle) == bundle

    async def _swept(self) -> None:
        # The service's own sweeper may have taken on some of it.
        async with asyncio.timeout(30):
            while await self._club.tenant.count("signing_intents"):
                await self._service.services.finish_signing.sweep()

    def _unsigned(self) -> set[str]:
        rows = self._run(
            self._club.tenant.fetch("SELECT pass_id FROM passes WHERE signature IS NULL")
        )
        return {str(row["pass_id"]) for row in rows}

    @rule(model=passes)
    def lose_the_signature(self, model: Model) -> None:
        """A process dies between the commit of the content and its signature."""
        self._run(
            self._club.tenant.fetch(
                """
                WITH unsigned AS (
                    UPDATE passes SET signature = NULL WHERE pass_id = $1
                    RETURNING tenant_id, pass_id
                )
                INSERT INTO signing_intents (tenant_id, pass_id, create_time)
                SELECT tenant_id, pass_id, $2 FROM unsigned ON CONFLICT DO NOTHING
                """,
                uuid.UUID(model.issued.pass_id),
                datetime.now(UTC) - LONG_AGO,
            )
        )

    @rule()
    def sweep(self) -> None:
        """After a sweep nothing is unsigned."""
        self._run(self._swept())
        assert self._unsigned() == set()

    @rule(model=passes)
    def read(self, model: Model) -> None:
        """The pass reads as the model says, by any of its names."""
        now = self._run(self._club.get(model.issued))
        assert basic(now) == model.issued
        assert (now.holder.name, now.values["points"].integer) == (model.name, model.points)
        texts = {name: now.values[name].text for name in ("note", "seat") if name in now.values}
        assert texts == {
            name: text for name, text in (("note", model.note), ("seat", model.seat)) if text
        }
        assert (now.state == Pass.STATE_VOIDED, now.revision) == (model.is_voided, model.revision)

    @rule()
    def list_all(self) -> None:
        """The listing holds exactly the models' passes."""
        request = pb.ListPassesRequest(page_size=500)
        listed = self._run(self._club.passes.ListPasses(request)).passes
        assert [basic(each) for each in listed] == [
            self._models[pass_id].issued for pass_id in sorted(self._models)
        ]

    @invariant()
    def whatever_is_unsigned_has_an_intent(self) -> None:
        """No pass lacks a signature without somebody knowing."""
        if not self._models:
            return
        rows = self._run(
            self._club.tenant.fetch(
                "SELECT FROM passes p WHERE signature IS NULL AND NOT EXISTS"
                " (SELECT FROM signing_intents i WHERE i.pass_id = p.pass_id)"
            )
        )
        assert not rows


def test_pass_life(database: Database) -> None:
    """Whatever is done in whatever order, the service and a plain model of it agree."""
    with asyncio.Runner() as runner:
        opening = open_service(database.url)
        service = runner.run(opening.__aenter__())
        try:
            run_state_machine_as_test(
                lambda: PassLife(runner, service),  # type: ignore[arg-type] # any maker will do
                settings=settings(
                    max_examples=25,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(opening.__aexit__(None, None, None))
