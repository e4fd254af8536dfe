"""Apple Wallet: from a template to pass.json and its neighbours, and what Apple asks of it."""

from passmill.domain.apple.document import RevisionPins
from passmill.domain.apple.field_nodes import TemplateNotRenderable
from passmill.domain.apple.lint import ImageInfo, lint
from passmill.domain.apple.pass_json import (
    PassData,
    encode_pass_columns,
    encode_pass_data,
    expires_at,
    write_document,
)
from passmill.domain.apple.reference import render_reference
from passmill.domain.apple.static_files import static_files

__all__ = [
    "ImageInfo",
    "PassData",
    "RevisionPins",
    "TemplateNotRenderable",
    "encode_pass_columns",
    "encode_pass_data",
    "expires_at",
    "lint",
    "render_reference",
    "static_files",
    "write_document",
]
