"""Apple Wallet: from a template to pass.json and its neighbours, and what Apple asks of it."""

from passmill.domain.apple.document import RevisionPins
from passmill.domain.apple.field_nodes import TemplateNotRenderable
from passmill.domain.apple.lint import ImageInfo, lint
from passmill.domain.apple.nodes import Form, Hole
from passmill.domain.apple.pass_json import (
    CompiledTemplate,
    MissingValue,
    PassData,
    Piece,
    compile_template,
)
from passmill.domain.apple.reference import render_reference
from passmill.domain.apple.static_files import static_files

__all__ = [
    "CompiledTemplate",
    "Form",
    "Hole",
    "ImageInfo",
    "MissingValue",
    "PassData",
    "Piece",
    "RevisionPins",
    "TemplateNotRenderable",
    "compile_template",
    "lint",
    "render_reference",
    "static_files",
]
