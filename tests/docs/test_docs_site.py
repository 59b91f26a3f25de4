"""The site of docs/ is made without a warning, has every page, and leads to each of them."""

from __future__ import annotations

import html
import pathlib
import re
import subprocess
import sys
import urllib.parse

import pytest
from page_commands import ROOT

pytestmark = pytest.mark.docs

PAGES = ["README", "CHANGELOG", *sorted(f"docs/{page.stem}" for page in (ROOT / "docs").glob("*.md"))]
RUNS = sorted(page.parent.relative_to(ROOT).as_posix() + "/README" for page in (ROOT / "data").glob("*/README.md"))
_LINK = re.compile(r'<a\b[^>]*?\bhref="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return the folder of the site, made as docs/README.md says, warnings being errors."""
    folder = tmp_path_factory.mktemp("site")
    ended = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(folder / "read"), "-c", "docs", ".",
         str(folder / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ended.stdout + ended.stderr == ""
    assert ended.returncode == 0
    return folder / "site"


def _links(page: pathlib.Path) -> list[str]:
    return [html.unescape(link) for link in _LINK.findall(page.read_text(encoding="utf-8"))]


def test_every_page_is_in_the_navigation(site: pathlib.Path) -> None:
    home = site / "docs/README.html"
    linked = {(home.parent / link.partition("#")[0]).resolve() for link in _links(home) if "://" not in link}
    assert [page for page in PAGES + RUNS if (site / f"{page}.html").resolve() not in {home, *linked}] == []


def test_links_lead_to_pages_and_headings_of_the_site(site: pathlib.Path) -> None:
    broken = []
    for page in [*PAGES, *RUNS]:
        at = site / f"{page}.html"
        for link in _links(at):
            target = urllib.parse.urlsplit(link)
            if not target.scheme and not _leads_somewhere(at, target):
                broken.append((page, link))
    assert broken == []


def _leads_somewhere(page: pathlib.Path, link: urllib.parse.SplitResult) -> bool:
    path = (page.parent / urllib.parse.unquote(link.path)).resolve() if link.path else page
    if not path.is_file():
        return False
    return not link.fragment or path.suffix != ".html" or f'id="{link.fragment}"' in path.read_text(encoding="utf-8")


def test_the_first_page_leads_home(site: pathlib.Path) -> None:
    assert _links(site / "index.html") == ["docs/README.html"]


def test_pages_need_nothing_from_elsewhere(site: pathlib.Path) -> None:
    home = (site / "docs/README.html").read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:script|img|link)\b[^>]*?\b(?:src|href)="([^"]*)"', home)
    assert [address for address in loaded if "://" in address] == []
