"""HTML made of parts: whatever is no Markup is escaped, so a name in a document can never become an element."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from ncclprobe.secrecy import without_secrets

_VOID = frozenset({"input", "meta", "br"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


NOTHING = Markup("")


def element(name: str, /, *content: str, **attributes: str | bool | None) -> Markup:
    """Return an element; plain strings in it are escaped.

    Args:
        name: Of the element.
        content: Markup as it is, strings as text.
        attributes: ``class_`` for ``class``, ``data_key`` for ``data-key``; True has no value, None no attribute.
    """
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(start if name in _VOID else f"{start}{joined(content)}</{name}>")


def joined(parts: Iterable[str]) -> Markup:
    """Return parts one after the other, each escaped unless it is Markup."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in parts))


def plain(text: str) -> str:
    """Return a name for a plot's labels: they are drawn as text, so nothing but secrets is taken out."""
    return without_secrets(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "", numbers: str = "") -> Markup:
    """Return a table that scrolls by itself where it is too wide, nothing without rows.

    Args:
        columns: Headings.
        rows: Cells, in the columns' order; the first of each row is its heading.
        caption: What it shows.
        numbers: An ``r`` for each column whose cells stand on the right, anything else for the left: ``lrr``.
    """
    sides = ["right" if side == "r" else "left" for side in numbers.ljust(len(columns))]
    body = [_row(row, sides) for row in rows]
    if not body:
        return NOTHING
    head = element(
        "tr", *(element("th", text, scope="col", class_=side) for text, side in zip(columns, sides, strict=True))
    )
    parts = [element("caption", caption)] if caption else []
    whole = element("table", *parts, element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption or columns[0])


def _row(row: Sequence[str], sides: Sequence[str]) -> Markup:
    first, *others = zip(row, sides, strict=True)
    cells = [element("td", text, class_=side) for text, side in others]
    return element("tr", element("th", first[0], scope="row", class_=first[1]), *cells)


def folded(title: str, *content: Markup) -> Markup:
    """Return content that opens on demand, nothing where there is none."""
    return element("details", element("summary", title), *content) if any(content) else NOTHING


def _attribute(key: str, value: str | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_text(value)}"'


def _text(text: str) -> str:
    return html.escape(without_secrets(text))
