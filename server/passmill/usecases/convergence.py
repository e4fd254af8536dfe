"""Say how many holders have a template's revision."""

from __future__ import annotations

from passmill.domain.callers import Caller
from passmill.domain.device_statistics import Convergence
from passmill.domain.ids import TemplateId, parse_uuid
from passmill.errors import not_found
from passmill.store.database import Database
from passmill.store.device_statistics import measure_convergence
from passmill.store.templates import find_revision_id, get_bare_template
from passmill.usecases.load_revision import not_published


class MeasureConvergence:
    """Counts where the passes of a template are on their way to a revision."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def __call__(
        self, caller: Caller, *, template_id: str, revision: int
    ) -> tuple[int, Convergence]:
        """The revision's number, and how far it has come; 0 for the newest. AppError NOT_FOUND,
        REVISION_NOT_PUBLISHED."""
        parsed = parse_uuid(template_id)
        if parsed is None:
            raise not_found("template")
        async with self._database.transaction(caller, read_only=True) as tx:
            template = await get_bare_template(tx, TemplateId(parsed))
            number = revision or template.latest_revision
            if await find_revision_id(tx, template.template_id, number) is None:
                raise not_published(revision)
            return number, await measure_convergence(tx, template.template_id, number)
