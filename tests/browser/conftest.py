"""Claim pages in a real browser: Chromium, as PASSMILL_CHROMIUM names it.

`make test` needs no browser, so without that variable there are no tests here; `make test-pages`
sets it, and says what is missing where there is none.
"""

import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.edge.rig import Edge, open_edge_on
from tests.support.claims import ClubLinks, open_claim_worker
from tests.support.service import Service

collect_ignore_glob = [] if os.environ.get("PASSMILL_CHROMIUM") else ["test_*.py"]

if not collect_ignore_glob:
    from playwright.async_api import Browser, BrowserContext, Page, async_playwright

    Opener = Callable[..., Awaitable[Page]]

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def edge(service: Service) -> AsyncIterator[Edge]:
        """The HTTPS door of the service that is shared."""
        async with open_edge_on(service.settings) as opened, open_claim_worker(service):
            yield opened

    @pytest_asyncio.fixture(loop_scope="session")
    async def links(service: Service) -> ClubLinks:
        """A tenant of its own that can issue."""
        return ClubLinks(club=await service.add_club())

    @pytest_asyncio.fixture(scope="session", loop_scope="session")
    async def browser() -> AsyncIterator[Browser]:
        """Chromium without a window. Its own sandbox needs rights that containers seldom have."""
        async with async_playwright() as playwright:
            launched = await playwright.chromium.launch(
                executable_path=os.environ["PASSMILL_CHROMIUM"],
                args=["--no-sandbox", "--disable-gpu", "--disable-quic"],
            )
            yield launched
            await launched.close()

    @pytest_asyncio.fixture(loop_scope="session")
    async def open_page(browser: Browser, edge: Edge) -> AsyncIterator[Opener]:
        """Opens a page of the edge in a browser of its own (`options`: of Browser.new_context).
        What a page asks for elsewhere, or does that its policy forbids, fails the test."""
        contexts: list[BrowserContext] = []
        wrongs: list[str] = []

        async def open_one(path: str, **options: Any) -> Page:
            context = await browser.new_context(
                base_url=edge.url,
                ignore_https_errors=True,  # the tests' own root
                reduced_motion="reduce",
                **{"locale": "en-GB", **options},
            )
            contexts.append(context)
            page = await context.new_page()
            page.on("request", lambda asked: _check_origin(asked.url, edge.url, wrongs))
            page.on("pageerror", lambda error: wrongs.append(str(error)))
            page.on(
                "console",
                lambda said: wrongs.append(said.text) if "Security Policy" in said.text else None,
            )
            await page.goto(path)
            return page

        yield open_one
        for context in contexts:
            await context.close()
        assert not wrongs

    def _check_origin(url: str, own: str, wrongs: list[str]) -> None:
        if not url.startswith((own, "data:")):
            wrongs.append(f"asked for {url}")

    @pytest.fixture
    def pictures(request: pytest.FixtureRequest) -> Callable[[], Path]:
        """Gives where this test's next screenshot goes: build/pages, to be looked at."""
        folder = Path(str(request.config.rootpath)) / "build" / "pages"
        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(c if c.isalnum() else "-" for c in request.node.name).strip("-")
        numbers = itertools.count(1)
        return lambda: folder / f"{name}-{next(numbers)}.png"
