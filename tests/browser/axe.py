"""axe-core, which finds what keeps people from a page (WCAG 2.2, levels A and AA, and what Deque
calls best practice)."""

from importlib import resources
from typing import Final

from playwright.async_api import Page

_RUN: Final = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations, passes } = await axe.run(document, { runOnly: tags });
  return {
    wrong: violations.flatMap(({ id, help, nodes }) =>
      nodes.map((node) => `${id}: ${help}: ${node.html}: ${node.failureSummary}`)),
    right: passes.map(({ id }) => id),
  };
}"""


async def check_with_axe(page: Page) -> None:
    """Fails when axe-core finds anything wrong with a page."""
    script = resources.files("axe_playwright_python") / "axe.min.js"
    await page.evaluate(script.read_text(encoding="utf-8"))  # no element: the page's policy stands
    found = await page.evaluate(_RUN)
    assert found["wrong"] == []
    assert {"color-contrast", "html-has-lang", "page-has-heading-one"} <= set(found["right"])
