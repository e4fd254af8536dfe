"""What the linter lets through can be loaded and signed: its limits are the signer's."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from passmill.domain.apple import encode_pass_data, lint, static_files
from passmill.domain.apple.static_files import strings_bytes
from passmill.domain.ids import ProgramId, RevisionId, TemplateId, new_number, new_uuid
from passmill.domain.template_life import TemplateRevision
from passmill.domain.templates import (
    FindingCode,
    ImageRole,
    Severity,
    TemplateContent,
    Translation,
)
from passmill.signing.native import InvalidBundle
from passmill.signing.revisions import LoadedRevision, load_revision
from tests.signer.images import png
from tests.support import templates
from tests.support.lint_cases_bundle import LANGUAGES, in_languages, long_back, translated_alike
from tests.support.lint_changes import C, plain

_NOW = datetime(2026, 2, 1, tzinfo=UTC)
_LEAST = len(png(38, 38, padding=b"x")) - 1
_TITLE = plain().title


def _errors(content: TemplateContent, assets: dict[str, bytes]) -> set[FindingCode]:
    findings = lint(content, templates.infos(assets), nfc_capable=True)
    return {each.code for each in findings if each.severity is Severity.ERROR}


def _load(content: TemplateContent, assets: dict[str, bytes]) -> LoadedRevision:
    revision = TemplateRevision(
        revision_id=RevisionId(new_number()),
        template_id=TemplateId(new_uuid()),
        program_id=ProgramId(new_uuid()),
        number=1,
        content=content,
        pass_type_identifier=templates.PINS.pass_type_identifier,
        team_identifier=templates.PINS.team_identifier,
        web_service_url=templates.PINS.web_service_url,
        publish_time=_NOW,
    )
    return load_revision(revision, assets)


def _weighing(content: TemplateContent, total: int) -> dict[str, bytes]:
    """Images for a content whose files shall have `total` bytes together."""
    texts = sum(map(len, static_files(replace(content, images=()), {}).values()))
    images, left = {}, total - texts
    for at, ref in enumerate(content.images):
        share = left // (len(content.images) - at)
        left -= share
        images[ref.asset_id] = png(38, 38, padding=b"x" * (share - _LEAST))
    return images


def _strings_of(size: int) -> TemplateContent:
    """The simplest template with one strings file of `size` bytes, an even number."""
    near = size // 2 - 100
    rest = size - strings_bytes(translated_alike(1, "x" * near).translations[0].strings)
    return translated_alike(1, "x" * (near + rest // 2))


def _with(count: int) -> TemplateContent:
    """With so many files: three images and translations."""
    return replace(translated_alike(count - 3), images=templates.images(ImageRole.ICON))


_FULL = in_languages(4, ImageRole.LOGO)


@pytest.mark.parametrize(
    ("last", "over", "code"),
    [
        (_with(64), _with(65), C.FILE_COUNT),
        (_strings_of(4 << 20), _strings_of((4 << 20) + 2), C.STRINGS_SIZE),
    ],
    ids=["files", "strings"],
)
def test_limits_are_the_signers(
    last: TemplateContent, over: TemplateContent, code: FindingCode
) -> None:
    """The last that the linter lets through can be loaded; one more is an error, and the signer
    would refuse it."""
    assets = templates.assets(last)
    assert _errors(last, assets) == set()
    assert _load(last, assets).files.names
    assert _errors(over, assets) == {code}
    with pytest.raises(InvalidBundle):
        _load(over, assets)


def test_total_is_the_signers() -> None:
    """Twenty mebibytes of images and texts can be loaded; a byte more is an error, and the signer
    would refuse it."""
    full = replace(_FULL, translations=translated_alike(1).translations)
    assets = _weighing(full, 20 << 20)
    assert _errors(full, assets) == set()
    assert _load(full, assets).content_bytes == 20 << 20
    assets = _weighing(full, (20 << 20) + 1)
    assert _errors(full, assets) == {C.TOTAL_SIZE}
    with pytest.raises(InvalidBundle):
        _load(full, assets)


def test_a_pass_leaves_room_for_values() -> None:
    """Fixed texts that fill a pass are an error before they keep every pass from being signed."""
    for count, expected in ((192, set()), (200, {C.PASS_SIZE})):
        content = long_back(count, "é" * 5_200)
        assert _errors(content, templates.assets(content)) == expected
    content = long_back(192, "é" * 5_200)
    loaded = _load(content, templates.assets(content))
    assert len(loaded.render(encode_pass_data(templates.pass_data(content)))) <= 2 << 20


_OTHER_ROLES = [role for role in ImageRole if role is not ImageRole.ICON]
_ROLES = st.lists(st.sampled_from(_OTHER_ROLES), max_size=4, unique=True)
_SIZES = st.sampled_from([0, 1, 50_000, (1 << 20) - 60, 1 << 20])


@st.composite
def _bundles(draw: st.DrawFn) -> TemplateContent:
    """Images by role and language, and translations, from few to far too many."""
    images = templates.images(ImageRole.ICON, *draw(_ROLES))
    if draw(st.booleans()):
        images = templates.images(ImageRole.ICON, locale=draw(st.sampled_from(["", "fr"])))
    roles = draw(_ROLES)
    for locale in LANGUAGES[: draw(st.integers(0, 12))]:
        images += templates.images(*roles, locale=locale)
    count = draw(st.integers(0, 64))
    text = "y" * draw(_SIZES)
    strings = {_TITLE: text, "{{}}": text} if draw(st.booleans()) else {_TITLE: "é"}
    translations = [Translation(locale=each, strings={_TITLE: "x"}) for each in LANGUAGES[:count]]
    translations[:1] = [Translation(locale="zh-Hans", strings=strings)]
    return plain(images=images[: draw(st.integers(3, 90))], translations=tuple(translations))


@given(content=_bundles())
def test_what_has_no_error_loads(content: TemplateContent) -> None:
    """Whatever the linter has no error for, the signer takes."""
    assets = templates.assets(content)
    errors = _errors(content, assets)
    event("has errors" if errors else "loads")
    if not errors:
        assert _load(content, assets).files.names
