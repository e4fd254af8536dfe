"""pass.json and the static files of each style, byte for byte."""

import json

import pytest

from passmill.domain.apple import render_reference, static_files
from passmill.domain.templates import compile_value_rules
from tests.support import templates
from tests.support.golden import Golden
from tests.support.rendering import Rendering

NAMES = sorted(templates.TEMPLATES)


@pytest.mark.parametrize("name", NAMES)
def test_pass_json_is_as_reviewed(name: str, golden: Golden) -> None:
    """A full pass of each style comes out byte for byte as the golden file says."""
    content = templates.TEMPLATES[name]()
    rendered = Rendering(content).render(templates.pass_data(content))
    golden.check(f"pass_json/{name}.json", rendered)
    assert not rendered.endswith(b"\n")


@pytest.mark.parametrize("name", NAMES)
def test_bare_pass_json_is_as_reviewed(name: str, golden: Golden) -> None:
    """A voided pass without any optional value leaves out what the golden file leaves out."""
    content = templates.TEMPLATES[name]()
    bare = templates.bare_pass_data(content)
    rendered = Rendering(content).render(bare)
    golden.check(f"pass_json/{name}_bare.json", rendered)
    assert json.loads(rendered)["voided"] is True


@pytest.mark.parametrize("name", NAMES)
def test_signer_and_reference_renderer_agree_on_samples(name: str) -> None:
    """The signer gives the reference renderer's bytes for full and bare passes of each style."""
    content = templates.TEMPLATES[name]()
    rendering = Rendering(content)
    for sample in (templates.pass_data(content), templates.bare_pass_data(content)):
        assert rendering.render(sample) == render_reference(content, templates.PINS, sample)


@pytest.mark.parametrize("name", NAMES)
def test_sample_values_are_admitted(name: str) -> None:
    """The values of the sample templates pass their own rules unchanged."""
    content = templates.TEMPLATES[name]()
    given = templates.values(content)
    checked = compile_value_rules(content).check(given, holder_name="Anaïs", holder_phone="+49")
    assert checked.violations == ()
    assert checked.values == given


def test_strings_are_as_reviewed(golden: Golden) -> None:
    """A strings file with quotes, a backslash and a line feed comes out as the golden file says."""
    content = templates.store_card()
    files = static_files(content, templates.assets(content))
    golden.check("strings/store_card.en.strings", files["en.lproj/pass.strings"])
    golden.check("strings/store_card.de.strings", files["de.lproj/pass.strings"])


def test_static_files_have_apples_names() -> None:
    """Images and strings get the names that Wallet looks for, languages in folders."""
    content = templates.store_card()
    assert list(static_files(content, templates.assets(content))) == [
        "de.lproj/pass.strings",
        "de.lproj/strip.png",
        "de.lproj/strip@2x.png",
        "de.lproj/strip@3x.png",
        "en.lproj/pass.strings",
        "en.lproj/strip.png",
        "en.lproj/strip@2x.png",
        "en.lproj/strip@3x.png",
        "icon.png",
        "icon@2x.png",
        "icon@3x.png",
        "logo.png",
        "logo@2x.png",
        "logo@3x.png",
    ]
