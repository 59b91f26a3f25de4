"""What a page is made of: runs with what is known of them, and the bodies that become of their documents."""

from __future__ import annotations

from ncclprobe.records.base import Document, Record
from ncclprobe.records.nodes import GroupValue
from ncclprobe.records.normal import Hardware
from ncclprobe.report.html.figures import Figure
from ncclprobe.report.html.markup import Markup


class Origin(Record, frozen=True, kw_only=True):
    """How a run was started, from its manifest."""

    argv: tuple[str, ...]
    """The command line's tokens."""
    created: str
    """UTC."""
    host: str
    """Where."""
    python: str
    """Interpreter."""
    platform: str
    """Operating system and kernel."""
    seed: int
    """Of every random order."""
    environment: dict[str, str]
    """Variables that matter to what is measured."""
    hardware: Hardware | None = None
    """Of the nodes; None where nothing was looked at."""


class Part(Record, frozen=True, kw_only=True):
    """A document, and what its run directory holds beside it."""

    document: Document
    """The result."""
    origin: Origin | None = None
    """None where a document was read without its run directory."""
    groups: tuple[GroupValue, ...] = ()
    """What ``nodes`` measured; empty for other commands and without the run directory."""


class Shown(Record, frozen=True, kw_only=True):
    """A run as it is shown."""

    source: str
    """Directory or file, as it was named."""
    parts: tuple[Part, ...]
    """Its own document, then those of its stages."""

    @property
    def document(self) -> Document:
        """Return the run's own document."""
        return self.parts[0].document


class Body(Record, frozen=True, kw_only=True):
    """A piece of the page."""

    content: Markup
    """What stands there."""
    figures: tuple[Figure, ...] = ()
    """What is to be drawn in it."""


def command(document: Document) -> str:
    """Return ``sweep`` for ``ncclprobe.sweep/1``."""
    return document.schema.removeprefix("ncclprobe.").partition("/")[0]
