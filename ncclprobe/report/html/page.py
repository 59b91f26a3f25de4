"""The page as a whole: answers first, what they rest on, findings, and how to repeat it."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ncclprobe import __version__
from ncclprobe.findings import Severity
from ncclprobe.records.report import ReportedFinding
from ncclprobe.report.html.compare import answers, compared
from ncclprobe.report.html.figures import figures_json
from ncclprobe.report.html.machine import machines
from ncclprobe.report.html.markup import NOTHING, Markup, element, joined
from ncclprobe.report.html.other import body
from ncclprobe.report.html.part import Body, Shown, command
from ncclprobe.report.html.script import SCRIPT
from ncclprobe.report.html.style import STYLE
from ncclprobe.report.text.letters import letter, letters, mark
from ncclprobe.report.text.verdict import verdict

_SIGNS = {Severity.ERROR: "✖ error", Severity.WARNING: "▲ warning", Severity.INFO: "ℹ info"}


def page(runs: Sequence[Shown], findings: Sequence[ReportedFinding], library: str) -> str:
    """Return a whole HTML file that needs no other.

    Args:
        runs: In the order in which they were named.
        findings: Of all of them, the worst first.
        library: BokehJS.
    """
    side_by_side = compared(runs) if len(runs) > 1 else Body(content=NOTHING)
    bodies = [_run(run, number, several=len(runs) > 1) for number, run in enumerate(runs)]
    figures = [figure for part in (side_by_side, *bodies) for figure in part.figures]
    sections = [
        element(
            "header", element("h1", "ncclprobe report"), answers(runs), _counts(findings), _contents(runs, side_by_side)
        ),
        _section("Side by side", "compared", side_by_side.content),
        *(part.content for part in bodies),
        _section("Findings", "findings", _findings(findings, letters(run.source for run in runs))),
        _section("Machine and command", "machine", machines(runs)),
        element("footer", f"ncclprobe {__version__}"),
    ]
    main = element("main", element("p", _NO_SCRIPT, id="no-plots", class_="quiet"), *sections)
    return _document(main, figures_json(figures), library)


_NO_SCRIPT = "Plots need JavaScript and a browser of 2023 or later; the tables have all figures."


def _document(main: Markup, figures: str, library: str) -> str:
    """Return the file: a policy that lets it load nothing and run our own two scripts alone, style, data, scripts."""
    packed = base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode()
    policy = (
        f"default-src 'none'; script-src {_hash(SCRIPT)} {_hash(library)}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head", element("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "ncclprobe report"), element("style", Markup(STYLE)),
    )  # fmt: skip
    data = [
        element("script", Markup(figures), type="application/json", id="figures"),
        element("script", Markup(packed), type="text/plain", id="library"),
        element("script", Markup(SCRIPT)),
    ]
    return f"<!doctype html>\n{element('html', head, element('body', main, *data), lang='en')}\n"


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _contents(runs: Sequence[Shown], side_by_side: Body) -> Markup:
    several = len(runs) > 1
    links = [("compared", "Side by side")] if side_by_side.content else []
    for number, run in enumerate(runs):
        links += [
            (_key(number, at), f"{letter(number)}: {command(part.document)}" if several else command(part.document))
            for at, part in enumerate(run.parts)
        ]
    links += [("findings", "findings"), ("machine", "machine and command")]
    items = [element("a", text, href=f"#{target}") for target, text in links]
    return element("nav", *items, aria_label="Contents")


def _key(number: int, at: int) -> str:
    return f"run-{number}-{at}"


def _run(run: Shown, number: int, *, several: bool) -> Body:
    parts = [body(part, _key(number, at)) for at, part in enumerate(run.parts)]
    content = [
        _section(
            f"{letter(number)}: {command(part.document)}" if several else command(part.document),
            _key(number, at),
            joined([element("p", verdict(part.document)) if several or at else NOTHING, shown.content]),
        )
        for at, (part, shown) in enumerate(zip(run.parts, parts, strict=True))
    ]
    return Body(content=joined(content), figures=tuple(figure for shown in parts for figure in shown.figures))


def _section(title: str, key: str, content: Markup) -> Markup:
    return element("section", element("h2", title), content, id=key) if content else NOTHING


def _counts(findings: Sequence[ReportedFinding]) -> Markup:
    """Return how many findings of each severity there are, in words."""
    counts = [
        element("a", f"{_SIGNS[severity]}: {number}", href="#findings", class_=f"badge {severity}")
        for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)
        if (number := sum(finding.severity is severity for finding in findings))
    ]
    return element("p", *counts, class_="badges") if counts else NOTHING


def _findings(findings: Iterable[ReportedFinding], known: Mapping[str, str]) -> Markup:
    """Return each finding with its hint and its runs; those that differ in their subject alone are one."""
    alike: dict[ReportedFinding, list[str]] = defaultdict(list)
    for finding in findings:
        alike[msgspec.structs.replace(finding, subject="")].append(finding.subject)
    items = [_finding(finding, subjects, mark(finding.runs, known)) for finding, subjects in alike.items()]
    return element("ul", *items, class_="findings") if items else element("p", "No findings.")


def _finding(finding: ReportedFinding, subjects: Sequence[str], whose: str) -> Markup:
    return element(
        "li", element("span", _SIGNS[finding.severity], class_=f"badge {finding.severity}"), " ",
        element("code", finding.code), " ", element("strong", ", ".join(subjects)),
        whose and f" {whose}", ": ", finding.message,
        element("p", "→ ", finding.hint, class_="hint"), class_=str(finding.severity),
    )  # fmt: skip
