"""TemplateService."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from passmill.v1 import template_service_pb2 as pb
from passmill.v1.template_pb2 import TemplateContent
from passmill.v1.wallet_pass_pb2 import PassDraft
from passmill_client.call import Call, ChangeOptions, Listing, ReadOptions, call_of, meta_of

_SERVICE = pb.DESCRIPTOR.services_by_name["TemplateService"]


def create_template(
    program_id: str,
    *,
    display_name: str,
    content: TemplateContent,
    **options: Unpack[ChangeOptions],
) -> Call[pb.CreateTemplateResponse]:
    """Makes a template with its first draft, and gives what the lint says of it. Scope: admin."""
    request = pb.CreateTemplateRequest(
        program_id=program_id, display_name=display_name, content=content, meta=meta_of(options)
    )
    return call_of(_SERVICE, request, pb.CreateTemplateResponse, lambda answer: answer, options)


def update_template(
    template_id: str,
    *,
    update_mask: Sequence[str],
    display_name: str = "",
    content: TemplateContent | None = None,
    etag: str = "",
    **options: Unpack[ChangeOptions],
) -> Call[pb.UpdateTemplateResponse]:
    """Changes the parts of the draft that `update_mask` names: display_name, content, or paths
    below content such as content.colors. Scope: admin."""
    request = pb.UpdateTemplateRequest(
        template_id=template_id,
        template=pb.Template(display_name=display_name, content=content),
        update_mask=FieldMask(paths=update_mask),
        etag=etag,
        meta=meta_of(options),
    )
    return call_of(_SERVICE, request, pb.UpdateTemplateResponse, lambda answer: answer, options)


def publish_template(
    template_id: str, *, etag: str = "", **options: Unpack[ChangeOptions]
) -> Call[pb.PublishTemplateResponse]:
    """Freezes the draft as the next revision, unless the lint finds errors. Scope: admin."""
    request = pb.PublishTemplateRequest(template_id=template_id, etag=etag, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.PublishTemplateResponse, lambda answer: answer, options)


def archive_template(template_id: str, **options: Unpack[ChangeOptions]) -> Call[pb.Template]:
    """Ends issuing from a template; its passes live on. Scope: admin."""
    request = pb.ArchiveTemplateRequest(template_id=template_id, meta=meta_of(options))
    return call_of(
        _SERVICE, request, pb.ArchiveTemplateResponse, lambda answer: answer.template, options
    )


def get_template(template_id: str, **options: Unpack[ReadOptions]) -> Call[pb.Template]:
    """Gives one template with its draft. Scope: read."""
    request = pb.GetTemplateRequest(template_id=template_id)
    return call_of(
        _SERVICE, request, pb.GetTemplateResponse, lambda answer: answer.template, options
    )


def list_templates(
    *, program_id: str = "", page_size: int = 500, **options: Unpack[ReadOptions]
) -> Listing[pb.Template]:
    """Lists templates without their drafts, oldest first, page by page. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[pb.Template], str]]:
        return call_of(
            _SERVICE,
            pb.ListTemplatesRequest(program_id=program_id, page_size=page_size, page_token=token),
            pb.ListTemplatesResponse,
            lambda answer: (answer.templates, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def get_template_revision(
    template_id: str, *, revision: int = 0, **options: Unpack[ReadOptions]
) -> Call[pb.TemplateRevision]:
    """Gives one published revision with its content, 0 being the newest. Scope: read."""
    request = pb.GetTemplateRevisionRequest(template_id=template_id, revision=revision)
    return call_of(
        _SERVICE, request, pb.GetTemplateRevisionResponse, lambda answer: answer.revision, options
    )


def list_template_revisions(
    template_id: str, *, page_size: int = 500, **options: Unpack[ReadOptions]
) -> Listing[pb.TemplateRevision]:
    """Lists published revisions without their contents, newest first, page by page. Scope: read."""

    def page(token: str) -> Call[tuple[Sequence[pb.TemplateRevision], str]]:
        return call_of(
            _SERVICE,
            pb.ListTemplateRevisionsRequest(
                template_id=template_id, page_size=page_size, page_token=token
            ),
            pb.ListTemplateRevisionsResponse,
            lambda answer: (answer.revisions, answer.next_page_token),
            options,
        )

    return Listing(page=page)


def upload_asset(content: bytes, **options: Unpack[ChangeOptions]) -> Call[pb.Asset]:
    """Stores a PNG of at most 4 megapixels and 2 MiB for use in drafts. Scope: admin."""
    request = pb.UploadAssetRequest(content=content, meta=meta_of(options))
    return call_of(_SERVICE, request, pb.UploadAssetResponse, lambda answer: answer.asset, options)


def preview_pass(
    template_id: str,
    *,
    revision: int = 0,
    draft: PassDraft | None = None,
    **options: Unpack[ReadOptions],
) -> Call[pb.PreviewPassResponse]:
    """Renders the draft, or a published revision, and gives what the lint finds with a signed
    bundle that is recorded nowhere. Scope: admin."""
    request = pb.PreviewPassRequest(template_id=template_id, revision=revision, draft=draft)
    return call_of(_SERVICE, request, pb.PreviewPassResponse, lambda answer: answer, options)
