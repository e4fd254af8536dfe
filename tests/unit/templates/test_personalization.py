"""The form of a reward sign-up in a template: its file, what goes with it, and its rules."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import lint, static_files
from passmill.domain.ids import ProgramId, RevisionId, TemplateId, new_uuid
from passmill.domain.template_life import TemplateRevision
from passmill.domain.templates import Personalization, PersonalizationField
from passmill.domain.templates.placeholders import escape_text
from passmill.signing.revisions import LoadedRevision, load_revision
from tests.support import templates
from tests.support.golden import Golden
from tests.support.sign_up_card import sign_up_card
from tests.support.template_strategies import TEXTS

_FORM_FILES = {
    "personalization.json",
    *(f"personalizationLogo{at}.png" for at in ("", "@2x", "@3x")),
}


def _load(web_service_url: str | None) -> LoadedRevision:
    content = sign_up_card()
    revision = TemplateRevision(
        revision_id=RevisionId(1),
        template_id=TemplateId(new_uuid()),
        program_id=ProgramId(new_uuid()),
        number=1,
        content=content,
        pass_type_identifier="pass.com.example.club",
        team_identifier="A1B2C3D4E5",
        web_service_url=web_service_url,
        publish_time=datetime(2026, 3, 1, tzinfo=UTC),
    )
    return load_revision(revision, templates.assets(content))


def test_the_form_is_as_reviewed(golden: Golden) -> None:
    """personalization.json comes out byte for byte as the golden file says, doubled braces as
    single ones, and its texts are translated with all others."""
    content = sign_up_card()
    files = static_files(content, templates.assets(content), asks_to_sign_up=True)
    golden.check("personalization/sign_up_card.json", files["personalization.json"])
    assert "Werde Mitglied" in files["de.lproj/pass.strings"].decode("utf-16")


def test_form_and_logo_go_together() -> None:
    """As long as nobody signed up a bundle has form and logo, and afterwards neither; everything
    else stays."""
    content = sign_up_card()
    assets = templates.assets(content)
    before = static_files(content, assets, asks_to_sign_up=True)
    after = static_files(content, assets)
    assert before.keys() - after.keys() == _FORM_FILES
    assert {name: before[name] for name in after} == after


@given(
    fields=st.lists(st.sampled_from(PersonalizationField), min_size=1, max_size=4, unique=True),
    description=TEXTS,
    terms=st.just("") | TEXTS,
)
def test_any_form_is_read_back(
    fields: list[PersonalizationField], description: str, terms: str
) -> None:
    """Whatever the texts are, the file is JSON that says just them, and no terms where there are
    none."""
    form = Personalization(
        required_fields=tuple(fields),
        description=escape_text(description),
        terms_and_conditions=escape_text(terms),
    )
    content = sign_up_card(form)
    files = static_files(content, templates.assets(content), asks_to_sign_up=True)
    read = json.loads(files["personalization.json"])
    assert read.pop("description") == description
    assert read.pop("termsAndConditions", "") == terms
    assert list(read) == ["requiredPersonalizationFields"]
    assert len(set(read["requiredPersonalizationFields"])) == len(fields)


def test_the_sample_has_no_finding() -> None:
    """A store card with everything that a sign-up needs has neither an error nor a warning."""
    content = sign_up_card()
    infos = templates.infos(templates.assets(content))
    assert lint(content, infos, nfc_capable=True) == []


def test_a_revision_is_prepared_twice() -> None:
    """A revision with a form is signed with it until the holder has signed up, without it from then
    on; both render the same pass.json, and both are counted."""
    loaded = _load("https://passes.example")
    before = loaded.prepared(is_personalized=False)
    after = loaded.prepared(is_personalized=True)
    assert set(before.names) - set(after.names) == _FORM_FILES
    assert loaded.content_bytes == before.content_bytes + after.content_bytes


@pytest.mark.parametrize("is_personalized", [True, False])
def test_without_a_web_service_nobody_is_asked(is_personalized: bool) -> None:
    """Where no device could send the form in, no bundle has it."""
    prepared = _load(None).prepared(is_personalized=is_personalized)
    assert not _FORM_FILES & set(prepared.names)
