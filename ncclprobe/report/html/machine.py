"""Where and how a run was measured, and the command that repeats it."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Iterable, Iterator, Sequence

from ncclprobe.records.normal import Hardware
from ncclprobe.report.html.markup import NOTHING, Markup, element, joined, table
from ncclprobe.report.html.part import Origin, Shown, command
from ncclprobe.secrecy import open_tokens, open_variables

_PROGRAMS = frozenset({"__main__.py", "ncclprobe"})


def machine(run: Shown) -> Markup:
    """Return the machine, the environment and the exact command of a run and of its stages."""
    known = [(command(part.document), part.origin) for part in run.parts if part.origin is not None]
    if not known:
        return element(
            "p", f"{run.source} is a document alone; its run directory has the command and the machine.", class_="quiet"
        )
    return joined(
        _origin(origin, name if at else "") for at, (name, origin) in enumerate(known) if not at or origin.hardware
    )


def _origin(origin: Origin, stage: str) -> Markup:
    """Return a table of facts; of a stage only what it knows beyond the whole run."""
    facts = _hardware(origin.hardware) if stage else _facts(origin)
    parts = [table(("what", "value"), facts, caption=f"Machine of {stage}" if stage else "Machine")]
    if not stage:
        parts += [element("p", "To repeat it:"), element("pre", repeat(origin), tabindex="0", class_="command")]
    return joined(parts)


def _facts(origin: Origin) -> Iterator[Sequence[str]]:
    yield "host", origin.host
    yield "started", origin.created
    yield "system", origin.platform
    yield "Python", origin.python
    yield from _hardware(origin.hardware)
    yield from open_variables(origin.environment).items()


def _hardware(hardware: Hardware | None) -> Iterator[Sequence[str]]:
    if hardware is None:
        return
    yield "nodes", str(hardware.nodes)
    yield "GPUs of a node", f"{hardware.gpus} x {hardware.gpu or 'unknown'}"
    for name, value in (("NVLinks of a GPU", hardware.nvlinks), ("PCIe of a GPU, GB/s", hardware.pcie_gbps),
                        ("rails of a node", hardware.rails), ("all rails, GB/s", hardware.rails_gbps)):  # fmt: skip
        if value is not None:
            yield name, f"{value:g}"


def repeat(origin: Origin) -> str:
    """Return the command line, with its seed where that was drawn; secrets are hidden.

    The run's own directory is left out, for no other run may be written there.
    """
    tokens = [*_elsewhere(open_tokens(origin.argv))]
    if tokens and pathlib.PurePath(tokens[0]).name in _PROGRAMS:
        tokens[0] = "ncclprobe"
    drawn = not any(word.partition("=")[0] == "--seed" for word in tokens)
    at = tokens.index("--") if "--" in tokens else len(tokens)
    tokens[at:at] = ["--seed", str(origin.seed)] if drawn and tokens else []
    return shlex.join(tokens)


def _elsewhere(tokens: Iterable[str]) -> Iterator[str]:
    """Yield a command line's tokens without ``--out DIR``; what follows ``--`` is another's."""
    rest = iter(tokens)
    for word in rest:
        if word == "--":
            yield word
            yield from rest
        elif word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            yield word


def machines(runs: Sequence[Shown]) -> Markup:
    """Return the machine of each run."""
    return joined(joined([element("h3", run.source) if len(runs) > 1 else NOTHING, machine(run)]) for run in runs)
