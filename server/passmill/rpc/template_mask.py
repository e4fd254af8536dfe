"""UpdateTemplate's field mask (https://google.aip.dev/134, https://google.aip.dev/161)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from passmill.domain.template_life import Template
from passmill.errors import AppError, invalid_field
from passmill.rpc.convert_template_life import content_from, template_to_proto
from passmill.rpc.status import RequestValidator
from passmill.usecases.update_template import TemplateEdit, TemplateEditor
from passmill.v1 import template_pb2
from passmill.v1 import template_service_pb2 as pb

_CONTENT: Final = "template.content"


def template_editor(
    request: pb.UpdateTemplateRequest, validator: RequestValidator
) -> TemplateEditor:
    """What makes of a template the one that the request asks for, and refuses it with INVALID_FIELD
    when the whole would break a rule of the proto.

    What the mask names and the request leaves out is cleared; a list is replaced whole. AppError
    INVALID_FIELD naming `update_mask` when it names nothing, or what is not there to be changed.
    """
    mask = request.update_mask
    if not mask.paths:
        raise invalid_field("update_mask", "names no field; name those to change")
    for path in mask.paths:
        _require_editable(path)

    def edit(template: Template) -> TemplateEdit:
        current = template_to_proto(template)
        wanted = pb.Template()
        wanted.CopyFrom(request.template)
        for path in mask.paths:
            _make_parents(path.split(".")[:-1], wanted, current)
        mask.MergeMessage(wanted, current, replace_message_field=True, replace_repeated_field=True)
        _validate(current.content, validator)
        return TemplateEdit(
            display_name=current.display_name,
            content=content_from(current.content, path=_CONTENT),
        )

    return edit


def _validate(content: template_pb2.TemplateContent, validator: RequestValidator) -> None:
    try:
        validator.check(content)
    except AppError as error:
        fields = [replace(each, path=f"{_CONTENT}.{each.path}") for each in error.fields]
        message = f"{_CONTENT}.{error.message}"
        raise AppError(reason=error.reason, message=message, fields=fields) from None


def _require_editable(path: str) -> None:
    root = path.split(".", 1)[0]
    if root not in {"display_name", "content"} or not FieldMask(paths=[path]).IsValidForDescriptor(
        pb.Template.DESCRIPTOR
    ):
        raise invalid_field(
            "update_mask",
            f'"{path:.200}" is no field that can be changed; name display_name, content or a'
            " path below content, such as content.colors",
        )


def _make_parents(parents: Sequence[str], wanted: Message, current: Message) -> None:
    # MergeMessage leaves alone what lies below a message that the request lacks: to be cleared.
    for name in parents:
        if not wanted.HasField(name):
            if not current.HasField(name):
                return
            getattr(wanted, name).SetInParent()
        wanted, current = getattr(wanted, name), getattr(current, name)
