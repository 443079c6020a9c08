"""The guides as a site: it builds without a warning, names every page, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("mkdocs", reason="the site needs edgeseg[docs]")
pytest.importorskip("material", reason="the site needs edgeseg[docs]")
pytest.importorskip("mkdocstrings", reason="the site needs edgeseg[docs]")

from mkdocs.commands.build import build
from mkdocs.config import load_config

# The decisions and the results are reached from the pages that name them.
UNLISTED = ("adr/", "results/")


@pytest.fixture(scope="module")
def site(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; where a page or a link is missing, this fails."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        build(load_config(str(project_root / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.fixture(scope="module")
def beside(project_root: Path) -> ModuleType:
    return _hook(project_root, "pages_beside")


@pytest.mark.heavy
def test_it_builds_without_a_warning_and_every_link_in_it_leads_somewhere(site: Path) -> None:
    seen = 0
    for page in site.rglob("*.html"):
        for link in _links(page):
            target, fragment = _target(page, link, site)
            assert target.is_file(), f"{page.relative_to(site)}: {link}"
            if fragment and target.suffix == ".html":
                assert fragment in _names(target), f"{page.relative_to(site)}: {link}"
            seen += 1
    assert seen >= 500


@pytest.mark.heavy
def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    """On a vehicle's bench there is no network, and a page of ours tells nobody who reads it."""
    for page in site.rglob("*.html"):
        loaded = [value for tag, name, value in _attributes(page) if _is_loaded(tag, name)]
        assert [value for value in loaded if value.startswith(("http:", "https:", "//"))] == [], page.name


@pytest.mark.heavy
def test_the_page_of_the_python_interface_describes_each_name_under_a_heading(
    site: Path, project_root: Path
) -> None:
    asked = re.findall(r"^::: (\S+)", (project_root / "docs/api.md").read_text(), flags=re.MULTILINE)
    assert len(asked) >= 5
    # The errors are told by their tree, under the page's own heading.
    told = set(asked) - {"edgeseg.errors"} | {"edgeseg.errors.EdgesegError"}
    assert told <= _names(site / "api.html")


def test_every_page_is_named_in_the_navigation(project_root: Path, beside: ModuleType) -> None:
    docs = project_root / "docs"
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} | set(beside.PAGES.values())
    config = load_config(str(project_root / "mkdocs.yml"))
    named = list(_leaves(config.nav))
    assert len(named) == len(set(named))
    assert set(named) <= pages
    assert {page for page in pages - set(named) if not page.startswith(UNLISTED)} == set()


@pytest.mark.parametrize(
    ("page", "link", "turned"),
    [
        ("index.md", "docs/data.md", "data.md"),
        ("index.md", "docs/vehicle.md#what-was-run-and-on-what", "vehicle.md#what-was-run-and-on-what"),
        ("index.md", "docs/images/overlay.jpg", "images/overlay.jpg"),
        ("index.md", "CHANGELOG.md", "changelog.md"),
        ("start.md", "../README.md", "index.md"),
        ("start.md", "data.md#checking", "data.md#checking"),
        ("start.md", "../benchmarks/results/a/b.md", "results/a/b.md"),
        ("adr/0001.md", "../data.md", "../data.md"),
        ("adr/0001.md", "../../benchmarks/results/a.md#x", "../results/a.md#x"),
        ("results/a.md", "../../docs/data.md", "../data.md"),
        ("results/a.md", "b.png", "b.png"),
        ("results/a/b.md", "../../../README.md", "../../index.md"),
        ("start.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("start.md", "#here", "#here"),
    ],
)
def test_links_are_turned_to_where_the_site_has_their_page(
    beside: ModuleType, page: str, link: str, turned: str
) -> None:
    asked: Any = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    text = f"See [it]({link}), and ![it]({link})."
    assert beside.on_page_markdown(text, page=asked) == f"See [it]({turned}), and ![it]({turned})."


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("See :func:<code>load</code>.", "See <code>load</code>."),
        (r"<td><code>NAME\|FILE</code></td>", "<td><code>NAME|FILE</code></td>"),
        (r"<pre><code>grep 'a\|b'</code></pre>", r"<pre><code>grep 'a\|b'</code></pre>"),
        ("<code>run --every-frame</code>", '<code>run <span class="option">--every-frame</span></code>'),
        ("<code>a--b</code> and --c", "<code>a--b</code> and --c"),
    ],
)
def test_code_within_a_text(project_root: Path, html: str, shown: str) -> None:
    assert _hook(project_root, "code_in_text").on_page_content(html) == shown


def _hook(root: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, root / "docs" / "hooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(part)


def _links(page: Path) -> list[str]:
    """Where the page leads within the site, its pictures and scripts among them."""
    found = [value for _, name, value in _attributes(page) if name in ("href", "src")]
    return [link for link in found if link and not urlsplit(link).scheme and not link.startswith("//")]


def _target(page: Path, link: str, site: Path) -> tuple[Path, str]:
    parts = urlsplit(link)
    path = unquote(parts.path)
    target = page if not path else site / path[1:] if path.startswith("/") else (page.parent / path).resolve()
    return (target / "index.html" if target.is_dir() else target), unquote(parts.fragment)


def _is_loaded(tag: str, name: str) -> bool:
    return (tag, name) in {("script", "src"), ("img", "src"), ("link", "href")}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        canonical = tag == "link" and ("rel", "canonical") in attrs
        self.attributes += [(tag, name, value or "") for name, value in attrs if not canonical]


@cache
def _attributes(page: Path) -> list[tuple[str, str, str]]:
    reader = _Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader.attributes


@cache
def _names(page: Path) -> set[str]:
    return {value for _, name, value in _attributes(page) if name == "id"} | {"__top", ""}
