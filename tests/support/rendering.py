"""Rendering of templates by the signer, as the service does it."""

from hypothesis import strategies as st

from passmill.domain.apple import PassData, RevisionPins, encode_pass_data, write_document
from passmill.domain.templates import TemplateContent
from passmill.signing.native import PreparedRevision
from passmill.signing.revisions import render_passes
from tests.signer.images import png
from tests.support.template_strategies import INSTANTS, TEXTS, values_for
from tests.support.templates import PINS

_ICON = {"icon.png": png(1, 1)}


class Rendering:
    """A template made ready to render."""

    def __init__(self, content: TemplateContent, pins: RevisionPins = PINS) -> None:
        """Raises TemplateNotRenderable."""
        self.revision = PreparedRevision(_ICON, write_document(content, pins))

    def render(self, pass_data: PassData) -> bytes:
        """pass.json of one pass. Raises InvalidBundle."""
        [pass_json] = render_passes(self.revision, encode_pass_data(pass_data))
        return pass_json


def passes_of(content: TemplateContent) -> st.SearchStrategy[PassData]:
    """Random passes of a template, with more and with fewer of their values."""
    return st.builds(
        PassData,
        serial_number=TEXTS,
        authentication_token=TEXTS,
        reference_id=TEXTS,
        holder_name=st.none() | st.just("") | TEXTS,
        holder_phone=st.none() | TEXTS,
        values=values_for(content.slots),
        voided=st.booleans(),
        expires_at=st.none() | INSTANTS,
    )
