"""How Sphinx makes the site: `sphinx-build -W -c docs . build/site`; the navigation is docs/README.md's own lists.

The source is the whole checkout, so that links to README.md and data/ lead somewhere as they do on a forge.
"""

from __future__ import annotations

import pathlib
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = pathlib.Path(__file__).resolve().parents[1]
HOME = "docs/README"

sys.path.insert(0, str(ROOT))
from ncclprobe import __version__  # noqa: E402  (the checkout's, whatever is installed)

project = "ncclprobe"
version = release = __version__
copyright = "ncclprobe's authors, Apache-2.0"
extensions = ["myst_parser"]
root_doc = HOME
include_patterns = ["README.md", "CHANGELOG.md", "SECURITY.md", "docs/*.md", "data/*/README.md"]
highlight_language = "text"
smartquotes = False
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"ncclprobe {__version__}"
html_show_sourcelink = False


def toctrees(home: str) -> str:
    """Return a hidden toctree for each section of the home page, of the pages that it links to, in its order."""
    sections = re.split(r"^## +(.+)$", home, flags=re.MULTILINE)[1:]
    listed = zip(sections[::2], (re.findall(r"\]\(([\w./-]+)\.md\)", text) for text in sections[1::2]), strict=True)
    return "".join(_toctree(caption, pages) for caption, pages in listed if pages)


def _toctree(caption: str, pages: list[str]) -> str:
    entries = list(dict.fromkeys(pages))
    if caption == "Runs":
        entries.append("../data/*/README")
    return "\n".join(["", "", "```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *entries, "```"])


def links_to_readmes(text: str, folder: pathlib.Path) -> str:
    """Return a page's text with links to folders leading to their README.md, which is what a forge shows."""

    def lead(link: re.Match[str]) -> str:
        return f"]({link[1]}/README.md)" if (folder / link[1] / "README.md").is_file() else link[0]

    return re.sub(r"\]\(([\w./-]+?)/?\)", lead, text)


def _complete(_app: Sphinx, docname: str, content: list[str]) -> None:
    """Turn what is read of a page into what Sphinx understands."""
    content[0] = links_to_readmes(content[0], (ROOT / docname).parent)
    if docname == HOME:
        content[0] += toctrees(content[0])


def _lead_home(app: Sphinx, problem: Exception | None) -> None:
    """Write the page that a server shows first: the way to the home page."""
    if problem is None and app.builder.format == "html":
        link = f'<meta charset="utf-8"><meta http-equiv="refresh" content="0; url={HOME}.html"><title>ncclprobe</title>'
        page = f'<!doctype html><html lang="en">{link}<a href="{HOME}.html">ncclprobe</a></html>\n'
        (pathlib.Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Connect what this site does itself."""
    from pygments.lexers.special import TextLexer

    for name in ("console", "csv"):  # what a command printed is no shell's syntax
        app.add_lexer(name, TextLexer)
    app.connect("source-read", _complete)
    app.connect("build-finished", _lead_home)
