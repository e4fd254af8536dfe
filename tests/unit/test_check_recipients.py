"""Recipients checked when they are loaded: what is kept of a chunk, whatever is in it."""

from datetime import UTC, datetime
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.campaigns import (
    CampaignAction,
    IssueAction,
    PinnedRevision,
    UpdateAction,
    VoidAction,
)
from passmill.domain.ids import (
    PassId,
    ProgramId,
    RevisionId,
    SerialNumbers,
    TemplateId,
    new_uuid,
)
from passmill.domain.passes import Holder, PassDraft
from passmill.domain.recipients import (
    RecipientColumns,
    columns_from_json,
    columns_to_json,
    join_columns,
)
from passmill.domain.reference_ids import ReferenceNumber, format_reference_id
from passmill.domain.template_life import TemplateRevision
from passmill.errors import Reason
from passmill.signing.revisions import LoadedRevision, load_revision
from passmill.usecases.check_recipients import RecipientChecks, RecipientRow, RefusedRow
from passmill.usecases.find_pass import PassRef
from tests.support.small_card import small_card
from tests.support.templates import assets

SERIALS: Final = SerialNumbers(bytes(range(16)))
PINNED: Final = PinnedRevision(
    template_id=TemplateId(new_uuid()), revision_id=RevisionId(1), number=1
)
ACTIONS: Final = (
    IssueAction(revision=PINNED),
    UpdateAction(revision=PINNED),
    VoidAction(reason=""),
)
# The passes there are, and their reference numbers; and some there are not.
THERE: Final = {PassId(new_uuid()): ReferenceNumber(1000 + at) for at in range(4)}
NOT_THERE: Final = [PassId(new_uuid()) for _ in range(2)]


def _loaded() -> LoadedRevision:
    content = small_card()
    revision = TemplateRevision(
        revision_id=PINNED.revision_id,
        template_id=PINNED.template_id,
        program_id=ProgramId(new_uuid()),
        number=1,
        content=content,
        pass_type_identifier="pass.com.example.club",
        team_identifier="A1B2C3D4E5",
        web_service_url=None,
        publish_time=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return load_revision(revision, assets(content))


LOADED: Final = _loaded()

texts = st.text(max_size=8) | st.sampled_from(["", "\x00", "x" * 300, "\u202e", "Ada"])
pass_ids = st.sampled_from([*THERE, *NOT_THERE])
refs = (
    pass_ids.map(lambda each: PassRef(pass_id=str(each)))
    | pass_ids.map(lambda each: PassRef(serial_number=SERIALS.of(each)))
    | st.sampled_from([*THERE.values(), 7]).map(
        lambda each: PassRef(reference_id=format_reference_id(ReferenceNumber(each)))
    )
    | texts.map(lambda text: PassRef(pass_id=text))
    | texts.map(lambda text: PassRef(serial_number=text))
    | texts.map(lambda text: PassRef(reference_id=text))
)
drafts = st.builds(
    PassDraft,
    holder=st.builds(
        Holder,
        name=texts,
        phone=texts | st.just("+12065550123"),
        external_ids=st.dictionaries(texts | st.just("crm"), texts, max_size=3),
    ),
    values=st.dictionaries(
        st.sampled_from(["points", "tier", "note", "seat"]), texts | st.integers(), max_size=4
    ),
    expire_time=st.none() | st.datetimes(timezones=st.just(UTC)),
)
recipients = st.lists(
    st.builds(RecipientRow, external_id=texts, ref=st.none() | refs, draft=st.none() | drafts),
    max_size=12,
)


@given(rows=recipients, action=st.sampled_from(ACTIONS))
def test_each_recipient_keeps_its_place(rows: list[RecipientRow], action: CampaignAction) -> None:
    """Whatever recipients hold, each has its place in columns of one length; one that is refused is
    told of once and holds nothing there but a text that can be stored; one that is kept names a
    pass that exists, if it must. Nothing depends on its neighbours, and what is stored reads the
    same."""
    columns, refused = _check(rows, action)
    places = {each.index: each for each in refused}
    assert len(places) == len(refused)
    assert [each.index for each in refused] == sorted(places)
    for at, row in enumerate(rows):
        alone, alone_refused = _check([row], action)
        assert columns.slice(at, at + 1) == alone
        assert [each.reason for each in alone_refused] == (
            [places[at].reason] if at in places else []
        )
        if at in places:
            assert {*columns.values[at : at + 1], *columns.names[at : at + 1]} == {None}
            assert columns.pass_ids[at] is None
            assert "\x00" not in columns.external_ids[at] + places[at].message
            assert len(columns.external_ids[at]) <= 128
        else:
            assert columns.external_ids[at] == row.external_id
            assert columns.values[at] is not None
            named = columns.pass_ids[at]
            assert (named is None) == isinstance(action, IssueAction)
            assert named is None or named in {each.hex for each in THERE}
    assert join_columns([columns_from_json(columns_to_json(columns))]) == columns


def _check(
    rows: list[RecipientRow], action: CampaignAction
) -> tuple[RecipientColumns, list[RefusedRow]]:
    checks = RecipientChecks(action=action, loaded=LOADED, serial_numbers=SERIALS)
    for row in rows:
        checks.add(row)
    pass_ids, references = checks.sought
    found = {
        pass_id: reference
        for pass_id, reference in THERE.items()
        if pass_id in pass_ids or reference in references
    }
    return checks.finish(found)


@given(pass_id=pass_ids)
def test_a_pass_has_three_names(pass_id: PassId) -> None:
    """A pass is found by its id, its serial number and its reference id alike; one that is not
    there is refused under each as NOT_FOUND."""
    reference = THERE.get(pass_id, ReferenceNumber(5))
    rows = [
        RecipientRow(external_id=str(at), ref=ref, draft=None)
        for at, ref in enumerate(
            [
                PassRef(pass_id=str(pass_id)),
                PassRef(serial_number=SERIALS.of(pass_id)),
                PassRef(reference_id=format_reference_id(reference)),
            ]
        )
    ]
    columns, refused = _check(rows, VoidAction(reason=""))
    if pass_id in THERE:
        assert (columns.pass_ids, refused) == ([pass_id.hex] * 3, [])
    else:
        assert [each.reason for each in refused] == [Reason.NOT_FOUND] * 3
