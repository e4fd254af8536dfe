"""TemplateService: templates of the caller's tenant, their drafts, revisions and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from passmill.domain.assets import Asset
from passmill.domain.callers import Scope
from passmill.domain.ids import TemplateId
from passmill.domain.template_life import Template, TemplateCodec
from passmill.errors import not_found
from passmill.rpc.convert_pass import pass_draft_from_proto
from passmill.rpc.convert_program import program_id_from
from passmill.rpc.convert_template_life import (
    asset_to_proto,
    content_from,
    findings_to_proto,
    revision_to_proto,
    template_id_from,
    template_to_proto,
)
from passmill.rpc.door import Call, MethodRule
from passmill.rpc.paging import Pages
from passmill.rpc.status import RequestValidator
from passmill.rpc.template_mask import template_editor
from passmill.store.database import Database
from passmill.store.programs import get_program
from passmill.store.templates import (
    find_numbered_revision,
    get_bare_template,
    get_template,
    list_revisions,
    list_templates,
)
from passmill.usecases.archive_template import ArchiveTemplate
from passmill.usecases.create_template import CreateTemplate
from passmill.usecases.lint_draft import LintedTemplate
from passmill.usecases.mutation import Answer
from passmill.usecases.preview_pass import PreviewPass
from passmill.usecases.publish_template import PublishedRevision, PublishTemplate
from passmill.usecases.update_template import UpdateTemplate
from passmill.usecases.upload_asset import UploadAsset
from passmill.v1 import template_service_pb2 as pb

_READ: Final = MethodRule(scope=Scope.READ)
_CHANGE: Final = MethodRule(scope=Scope.ADMIN, mutates=True)

SERVICE: Final = pb.DESCRIPTOR.services_by_name["TemplateService"]
RULES: Final[Mapping[str, MethodRule]] = {
    "CreateTemplate": _CHANGE,
    "UpdateTemplate": _CHANGE,
    "PublishTemplate": _CHANGE,
    "ArchiveTemplate": _CHANGE,
    "GetTemplate": _READ,
    "ListTemplates": _READ,
    "GetTemplateRevision": _READ,
    "ListTemplateRevisions": _READ,
    "UploadAsset": _CHANGE,
    "PreviewPass": MethodRule(scope=Scope.ADMIN),
}


class TemplateServicer:
    """Decodes, calls the use case, encodes."""

    def __init__(
        self,
        *,
        database: Database,
        pages: Pages,
        validator: RequestValidator,
        codec: TemplateCodec,
        create_template: CreateTemplate,
        update_template: UpdateTemplate,
        publish_template: PublishTemplate,
        archive_template: ArchiveTemplate,
        upload_asset: UploadAsset,
        preview_pass: PreviewPass,
    ) -> None:
        self._database = database
        self._pages = pages
        self._validator = validator
        self._codec = codec
        self._create_template = create_template
        self._update_template = update_template
        self._publish_template = publish_template
        self._archive_template = archive_template
        self._upload_asset = upload_asset
        self._preview_pass = preview_pass

    async def create_template(self, request: pb.CreateTemplateRequest, call: Call) -> Answer:
        """Makes a template with its first draft."""

        def encode(made: LintedTemplate) -> pb.CreateTemplateResponse:
            return pb.CreateTemplateResponse(
                template=template_to_proto(made.template),
                findings=findings_to_proto(made.findings),
            )

        return await self._create_template(
            call.mutation(request, encode),
            program_id=program_id_from(request.program_id),
            display_name=request.display_name,
            content=content_from(request.content, path="content"),
        )

    async def update_template(self, request: pb.UpdateTemplateRequest, call: Call) -> Answer:
        """Changes what the mask names."""

        def encode(changed: LintedTemplate) -> pb.UpdateTemplateResponse:
            return pb.UpdateTemplateResponse(
                template=template_to_proto(changed.template),
                findings=findings_to_proto(changed.findings),
            )

        return await self._update_template(
            call.mutation(request, encode),
            template_id=template_id_from(request.template_id),
            etag=request.etag,
            edit=template_editor(request, self._validator),
        )

    async def publish_template(self, request: pb.PublishTemplateRequest, call: Call) -> Answer:
        """Freezes the draft as the next revision."""

        def encode(published: PublishedRevision) -> pb.PublishTemplateResponse:
            return pb.PublishTemplateResponse(
                revision=revision_to_proto(published.revision),
                findings=findings_to_proto(published.warnings),
            )

        return await self._publish_template(
            call.mutation(request, encode),
            template_id=template_id_from(request.template_id),
            etag=request.etag,
        )

    async def archive_template(self, request: pb.ArchiveTemplateRequest, call: Call) -> Answer:
        """Ends issuing from a template."""

        def encode(template: Template) -> pb.ArchiveTemplateResponse:
            return pb.ArchiveTemplateResponse(template=template_to_proto(template))

        return await self._archive_template(
            call.mutation(request, encode), template_id=template_id_from(request.template_id)
        )

    async def get_template(
        self, request: pb.GetTemplateRequest, call: Call
    ) -> pb.GetTemplateResponse:
        """One template with its draft."""
        template_id = template_id_from(request.template_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            template = await get_template(tx, template_id, codec=self._codec)
        return pb.GetTemplateResponse(template=template_to_proto(template))

    async def list_templates(
        self, request: pb.ListTemplatesRequest, call: Call
    ) -> pb.ListTemplatesResponse:
        """A page of templates, oldest first."""
        program_id = program_id_from(request.program_id) if request.program_id else None
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        after = TemplateId(UUID(str(key[0]))) if key else None
        async with self._database.transaction(call.caller, read_only=True) as tx:
            if program_id is not None:
                await get_program(tx, program_id)
            # One more than asked for tells whether there is a next page.
            found = await list_templates(tx, program_id=program_id, after=after, at_most=size + 1)
        page = found[:size]
        return pb.ListTemplatesResponse(
            templates=[template_to_proto(template) for template in page],
            next_page_token=self._pages.token(request, [str(page[-1].template_id)])
            if len(found) > size
            else "",
        )

    async def get_template_revision(
        self, request: pb.GetTemplateRevisionRequest, call: Call
    ) -> pb.GetTemplateRevisionResponse:
        """One revision with its content."""
        template_id = template_id_from(request.template_id)
        async with self._database.transaction(call.caller, read_only=True) as tx:
            template = await get_bare_template(tx, template_id)
            number = request.revision or template.latest_revision
            revision = await find_numbered_revision(tx, template_id, number, codec=self._codec)
        if revision is None:
            raise not_found("template revision")
        return pb.GetTemplateRevisionResponse(revision=revision_to_proto(revision))

    async def list_template_revisions(
        self, request: pb.ListTemplateRevisionsRequest, call: Call
    ) -> pb.ListTemplateRevisionsResponse:
        """A page of revisions, newest first."""
        template_id = template_id_from(request.template_id)
        size = self._pages.size(request.page_size)
        key = self._pages.key(request, request.page_token)
        before = int(key[0]) if key else None
        async with self._database.transaction(call.caller, read_only=True) as tx:
            await get_bare_template(tx, template_id)
            found = await list_revisions(tx, template_id, before=before, at_most=size + 1)
        page = found[:size]
        return pb.ListTemplateRevisionsResponse(
            revisions=[revision_to_proto(revision) for revision in page],
            next_page_token=self._pages.token(request, [page[-1].number])
            if len(found) > size
            else "",
        )

    async def upload_asset(self, request: pb.UploadAssetRequest, call: Call) -> Answer:
        """Stores an image."""

        def encode(asset: Asset) -> pb.UploadAssetResponse:
            return pb.UploadAssetResponse(asset=asset_to_proto(asset))

        return await self._upload_asset(call.mutation(request, encode), content=request.content)

    async def preview_pass(
        self, request: pb.PreviewPassRequest, call: Call
    ) -> pb.PreviewPassResponse:
        """A pass that is not issued."""
        preview = await self._preview_pass(
            call.caller,
            template_id=template_id_from(request.template_id),
            number=request.revision,
            draft=pass_draft_from_proto(request.draft),
        )
        return pb.PreviewPassResponse(
            pass_json=preview.pass_json,
            bundle=preview.bundle,
            findings=findings_to_proto(preview.findings),
        )
