"""Batches of real templates: what is signed is what the plain renderer gives."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from passmill._signer import sign_batch
from passmill.domain.apple import encode_pass_data, render_reference
from passmill.domain.templates import TemplateContent
from tests.signer.signers import SIGNING_TIME, Signer
from tests.support import templates
from tests.support.rendering import Rendering, passes_of
from tests.support.template_strategies import contents


@given(content=contents(), data=st.data())
def test_what_is_signed_is_the_reference(
    content: TemplateContent, data: st.DataObject, rsa: Signer
) -> None:
    """The digests of a signed batch are SHA-1 of what the plain renderer gives, pass by pass; two
    batches signed as one are signed alike."""
    revision = Rendering(content).revision
    passes = [data.draw(passes_of(content)) for _ in range(data.draw(st.integers(2, 4)))]
    lines = [encode_pass_data(each) for each in passes]
    times = [SIGNING_TIME + number for number in range(len(passes))]
    digests, signatures = sign_batch(revision, b"".join(lines), rsa.identity, times, threads=1)
    assert digests == [
        hashlib.sha1(
            render_reference(content, templates.PINS, each), usedforsecurity=False
        ).digest()
        for each in passes
    ]
    first = sign_batch(revision, lines[0], rsa.identity, times[:1])
    others = sign_batch(revision, b"".join(lines[1:]), rsa.identity, times[1:])
    assert first[0] + others[0] == digests
    assert first[1] + others[1] == signatures
