"""The pages that lie beside ``docs/`` in the tree: the README, the changelog, the results of measurements.

The guides link to them where they are, so that the links work in a clone too; the site has them under names
of its own, and their links are turned here. A result that no page links to is left out.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "benchmarks/results/"
# Where in the tree -> where in the site.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for tree, site in {**PAGES, **{name: _in_site(name) for name in _results()}}.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / tree)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    here = _in_tree(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        target = link[2]
        if "://" in target:
            return link[0]
        tree = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        site = posixpath.relpath(_in_site(tree), posixpath.dirname(page.file.src_uri) or ".")
        return f"{link[1]}{site}{link[3]}"

    return _LINK.sub(turned, markdown)


def _results() -> list[str]:
    """Results that a guide links to, and what lies in a folder of results beside its page."""
    linked = set()
    for page in (ROOT / "docs").rglob("*.md"):
        for link in _LINK.finditer(page.read_text(encoding="utf-8")):
            tree = posixpath.normpath(posixpath.join(page.parent.relative_to(ROOT).as_posix(), link[2]))
            if tree.startswith(RESULTS):
                linked |= {tree} | _beside(ROOT / tree)
    return sorted(linked)


def _beside(page: Path) -> set[str]:
    """What the page itself shows or links to: its pictures, and its figures as JSON."""
    if page.suffix != ".md":
        return set()
    links = (link[2] for link in _LINK.finditer(page.read_text(encoding="utf-8")))
    found = {(page.parent / link).resolve() for link in links if "://" not in link}
    return {
        path.relative_to(ROOT).as_posix()
        for path in found
        if path.is_file() and path.is_relative_to(ROOT / RESULTS)
    }


def _in_site(tree: str) -> str:
    if tree in PAGES:
        return PAGES[tree]
    if tree.startswith(RESULTS):
        return "results/" + tree.removeprefix(RESULTS)
    return tree.removeprefix("docs/")


def _in_tree(site: str) -> str:
    names = {there: tree for tree, there in PAGES.items()}
    if site in names:
        return names[site]
    return RESULTS + site.removeprefix("results/") if site.startswith("results/") else f"docs/{site}"
