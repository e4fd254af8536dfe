"""Templates and revisions at rest and in memory: that they stay, who sees them, how they load."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from passmill.domain.assets import Asset, asset_id_of
from passmill.domain.ids import (
    ProgramId,
    RevisionId,
    TemplateId,
    TenantId,
    new_number,
    new_uuid,
)
from passmill.domain.programs import Program, ProgramState
from passmill.domain.template_life import Template, TemplateRevision, TemplateState
from passmill.domain.templates import ImageRole, TemplateContent
from passmill.errors import AppError, Reason
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.signing.revisions import LoadedRevision, RevisionCache, load_revision
from passmill.store.assets import find_assets, find_contents, insert_asset
from passmill.store.programs import get_program, insert_program, list_programs, write_program
from passmill.store.templates import (
    find_numbered_revision,
    find_revision_id,
    get_bare_template,
    get_revision,
    get_template,
    insert_revision,
    insert_template,
    list_revisions,
    list_templates,
    write_template,
)
from tests.support import templates
from tests.support.png import read_png_size
from tests.support.postgres import Database
from tests.support.template_api import TemplateApi, open_template_api

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
CODEC = ProtoTemplateCodec()


@pytest.fixture
async def api(database: Database) -> AsyncIterator[TemplateApi]:
    """A database with all that works on it."""
    async with open_template_api(database.url) as opened:
        yield opened


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a tenant has."""

    tenant_id: TenantId
    program: Program
    template: Template
    revision: TemplateRevision


def small_content() -> tuple[TemplateContent, dict[str, bytes]]:
    """A store card with its icons alone, and their bytes by asset id."""
    content = templates.store_card()
    icons = tuple(each for each in content.images if each.role is ImageRole.ICON)
    content = dataclasses.replace(content, images=icons)
    drawn = templates.assets(content)
    images = tuple(
        dataclasses.replace(each, asset_id=asset_id_of(drawn[each.asset_id])) for each in icons
    )
    assets = {asset_id_of(image): image for image in drawn.values()}
    return dataclasses.replace(content, images=images), assets


def make_revision(content: TemplateContent) -> TemplateRevision:
    """A revision that belongs to no template."""
    return TemplateRevision(
        revision_id=RevisionId(new_number()),
        template_id=TemplateId(new_uuid()),
        program_id=ProgramId(new_uuid()),
        number=1,
        content=content,
        pass_type_identifier="pass.com.example.club",
        team_identifier="A1B2C3D4E5",
        web_service_url=None,
        publish_time=NOW,
    )


async def store(api: TemplateApi, *, is_published: bool = True) -> Stored:
    """A new tenant with a program, a template, its images and, if asked, its first revision."""
    tenant_id = await api.add_tenant()
    content, assets = small_content()
    program = Program(
        program_id=ProgramId(new_uuid()),
        display_name="Club",
        pass_type_identifier="pass.com.example.club",
        state=ProgramState.ACTIVE,
        version=1,
        create_time=NOW,
        update_time=NOW,
    )
    template = Template(
        template_id=TemplateId(new_uuid()),
        program_id=program.program_id,
        display_name="Card",
        draft=content,
        version=1,
        latest_revision=1 if is_published else 0,
        state=TemplateState.ACTIVE,
        create_time=NOW,
        update_time=NOW,
    )
    revision = dataclasses.replace(
        make_revision(content),
        template_id=template.template_id,
        program_id=program.program_id,
        web_service_url="https://passes.example.com",
    )
    async with api.database.transaction(api.caller(tenant_id)) as tx:
        await insert_program(tx, program)
        await insert_template(tx, template, draft=CODEC.encode(content))
        for asset_id, image in assets.items():
            width, height = read_png_size(image)
            asset = Asset(asset_id=asset_id, width=width, height=height, size_bytes=len(image))
            assert await insert_asset(tx, asset, content=image, now=NOW)
            assert not await insert_asset(tx, asset, content=image, now=NOW)
            assert (await find_assets(tx, [asset_id, "nothing"])) == {asset_id: asset}
        if is_published:
            await insert_revision(tx, revision, content=CODEC.encode(content))
    return Stored(tenant_id=tenant_id, program=program, template=template, revision=revision)


async def test_what_is_written_is_read(api: TemplateApi) -> None:
    """Programs, templates and revisions come back equal; lists leave contents out."""
    stored = await store(api)
    template, revision = stored.template, stored.revision
    async with api.database.transaction(api.caller(stored.tenant_id), read_only=True) as tx:
        assert await get_program(tx, stored.program.program_id) == stored.program
        assert await list_programs(tx, after=None, at_most=9) == [stored.program]
        assert await get_template(tx, template.template_id, codec=CODEC) == template
        bare = dataclasses.replace(template, draft=None)
        assert await get_bare_template(tx, template.template_id) == bare
        assert await list_templates(tx, program_id=None, after=None, at_most=9) == [bare]
        assert await get_revision(tx, revision.revision_id, codec=CODEC) == revision
        numbered = await find_numbered_revision(tx, template.template_id, 1, codec=CODEC)
        assert numbered == revision
        assert await find_numbered_revision(tx, template.template_id, 2, codec=CODEC) is None
        assert await list_revisions(tx, template.template_id, before=None, at_most=9) == [
            dataclasses.replace(revision, content=None)
        ]


async def test_writing_a_template_without_its_draft(api: TemplateApi) -> None:
    """A change of the rest leaves the draft as it was."""
    stored = await store(api)
    renamed = dataclasses.replace(stored.template, display_name="New", version=2)
    async with api.database.transaction(api.caller(stored.tenant_id)) as tx:
        await write_template(tx, renamed)
        assert await get_template(tx, renamed.template_id, codec=CODEC) == renamed


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE template_revisions SET content = ''",
        "DELETE FROM template_revisions",
        "UPDATE assets SET content = ''",
        "DELETE FROM assets",
        "DELETE FROM templates",
        "DELETE FROM programs",
    ],
)
async def test_what_is_published_stays(api: TemplateApi, statement: str) -> None:
    """The application's role has no right to change or delete what passes were issued from."""
    stored = await store(api)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with api.database.transaction(api.caller(stored.tenant_id)) as tx:
            await tx.execute(statement)


async def test_tenants_see_their_own(api: TemplateApi) -> None:
    """Without a word about tenants in the statement, each sees its own rows alone and can write
    none of another's."""
    mine, other = await store(api), await store(api)
    async with api.database.transaction(api.caller(mine.tenant_id)) as tx:
        for table in ("programs", "templates", "template_revisions", "assets"):
            rows = await tx.fetch(f"SELECT DISTINCT tenant_id FROM {table}")  # noqa: S608
            assert [row["tenant_id"] for row in rows] == [mine.tenant_id]
        assert await tx.execute("UPDATE templates SET display_name = 'x'") == 1
        assert await find_revision_id(tx, other.template.template_id, 1) is None
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with api.database.transaction(api.caller(mine.tenant_id)) as tx:
            await tx.execute(
                "INSERT INTO assets (tenant_id, asset_id, width, height, content, create_time)"
                " VALUES ($1, 'x', 1, 1, 'x', now())",
                other.tenant_id,
            )
    caller = api.caller(mine.tenant_id)
    for refused in (
        api.load_revision.by_id(caller, other.revision.revision_id),
        api.load_revision.for_issue(caller, str(other.template.template_id), 1),
    ):
        with pytest.raises(AppError) as caught:
            await refused
        assert caught.value.reason is Reason.NOT_FOUND


async def test_loading_for_issue(api: TemplateApi) -> None:
    """A revision is found by its number or as the newest; what is archived or was never published
    is refused, and a change shows once it is told of."""
    stored = await store(api)
    caller, template_id = api.caller(stored.tenant_id), str(stored.template.template_id)
    loaded = await api.load_revision.for_issue(caller, template_id, 0)
    assert loaded.revision == stored.revision
    assert set(loaded.files.names) == {"icon.png", "icon@2x.png", "icon@3x.png"} | {
        f"{each.locale}.lproj/pass.strings" for each in loaded.content.translations
    }
    assert await api.load_revision.for_issue(caller, template_id.upper(), 1) is loaded
    await refusal(api, stored, number=2, reason=Reason.REVISION_NOT_PUBLISHED)

    archived = dataclasses.replace(stored.template, state=TemplateState.ARCHIVED)
    async with api.database.transaction(caller) as tx:
        await write_template(tx, archived)
    api.load_revision.forget()
    await refusal(api, stored, number=0, reason=Reason.TEMPLATE_ARCHIVED)

    async with api.database.transaction(caller) as tx:
        await write_template(tx, stored.template)
        await write_program(tx, dataclasses.replace(stored.program, state=ProgramState.ARCHIVED))
    await refusal(api, stored, number=1, reason=Reason.PROGRAM_ARCHIVED)
    assert await api.load_revision.by_id(caller, stored.revision.revision_id) is loaded

    fresh = await store(api, is_published=False)
    await refusal(api, fresh, number=0, reason=Reason.REVISION_NOT_PUBLISHED)


async def refusal(api: TemplateApi, stored: Stored, *, number: int, reason: Reason) -> None:
    """Fails unless issuing from this revision is refused for this reason."""
    with pytest.raises(AppError) as caught:
        await api.load_revision.for_issue(
            api.caller(stored.tenant_id), str(stored.template.template_id), number
        )
    assert caught.value.reason is reason


class Shelf:
    """Gives revisions when it is let, and counts."""

    def __init__(self, *revisions: TemplateRevision, assets: Mapping[str, bytes]) -> None:
        self._revisions = {each.revision_id: each for each in revisions}
        self._assets = assets
        self.asked: list[tuple[TenantId, RevisionId]] = []
        self.is_open = asyncio.Event()
        self.fails = 0

    async def load(
        self, tenant_id: TenantId, revision_id: RevisionId
    ) -> tuple[TemplateRevision, Mapping[str, bytes]]:
        """The revision and all assets."""
        self.asked.append((tenant_id, revision_id))
        await self.is_open.wait()
        if self.fails:
            self.fails -= 1
            raise AppError(reason=Reason.UNAVAILABLE, message="Not now.")
        return self._revisions[revision_id], self._assets


async def test_concurrent_askers_share_one_load() -> None:
    """Many who ask for one revision at once cause one load, and all get the same; another tenant's
    revision of the same number is another one."""
    content, assets = small_content()
    revision = make_revision(content)
    shelf = Shelf(revision, assets=assets)
    cache = RevisionCache(loader=shelf.load)
    tenant_id = TenantId(1)
    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(cache.load(tenant_id, revision.revision_id)) for _ in range(20)]
        await asyncio.sleep(0)
        shelf.is_open.set()
    assert len({id(task.result()) for task in asking}) == 1
    assert shelf.asked == [(tenant_id, revision.revision_id)]
    await cache.load(TenantId(2), revision.revision_id)
    assert shelf.asked[1:] == [(TenantId(2), revision.revision_id)]


async def test_a_failed_or_abandoned_load_is_the_askers_own() -> None:
    """When the one who loads is cancelled, or meets an error, those who wait load it themselves."""
    content, assets = small_content()
    revision = make_revision(content)
    shelf = Shelf(revision, assets=assets)
    cache = RevisionCache(loader=shelf.load)
    first, second, third = (
        asyncio.ensure_future(cache.load(TenantId(1), revision.revision_id)) for _ in range(3)
    )
    await asyncio.sleep(0)
    first.cancel()
    shelf.fails = 1
    shelf.is_open.set()
    results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], AppError)
    assert isinstance(results[2], LoadedRevision)
    assert len(shelf.asked) == 3


@pytest.fixture(scope="module")
def loaded_bytes() -> int:
    """How many bytes one small revision takes in a cache."""

    async def measure() -> int:
        content, assets = small_content()
        shelf = Shelf(revision := make_revision(content), assets=assets)
        shelf.is_open.set()
        cache = RevisionCache(loader=shelf.load)
        await cache.load(TenantId(1), revision.revision_id)
        return cache.used_bytes

    return asyncio.run(measure())


@given(asks=st.lists(st.integers(0, 3), max_size=30), room=st.integers(0, 3))
@example(asks=[0, 1, 0, 2, 0, 1], room=2)
def test_the_least_recently_used_goes(loaded_bytes: int, asks: list[int], room: int) -> None:
    """A cache with room for n revisions keeps exactly the n used last, but always the last one."""
    content, assets = small_content()
    revisions = [make_revision(content) for _ in range(4)]

    async def run() -> None:
        shelf = Shelf(*revisions, assets=assets)
        shelf.is_open.set()
        cache = RevisionCache(loader=shelf.load, capacity_bytes=room * loaded_bytes)
        kept: list[int] = []
        for ask in asks:
            loads = len(shelf.asked)
            loaded = await cache.load(TenantId(1), revisions[ask].revision_id)
            assert loaded.revision is revisions[ask]
            assert (len(shelf.asked) == loads) == (ask in kept)
            kept = [*(each for each in kept if each != ask), ask][-max(1, room) :]
            assert cache.used_bytes == len(kept) * loaded_bytes

    asyncio.run(run())


async def test_contents_of_assets(api: TemplateApi) -> None:
    """Bytes are found by asset id; an id in another spelling, or none at all, finds nothing."""
    stored = await store(api)
    content, assets = small_content()
    async with api.database.transaction(api.caller(stored.tenant_id)) as tx:
        assert await find_contents(tx, assets) == assets
        odd = ["", "x" * 64, next(iter(assets)).upper(), next(iter(assets))[:-2], "é" * 64]
        assert not await find_contents(tx, odd)
    loaded = load_revision(make_revision(content), assets)
    assert loaded.content_bytes >= sum(len(image) for image in assets.values())
