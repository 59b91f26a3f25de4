"""``ncclprobe nodes``: which node, link or rail is slow, from past results or from rounds of a simulated fabric."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable

import click
import numpy as np

from ncclprobe.backends.fabric import read_fabric
from ncclprobe.cli.output import drawn_seed, finish, shared_options
from ncclprobe.errors import UsageError
from ncclprobe.nodes.active import Plan, run
from ncclprobe.nodes.csv import parse_results
from ncclprobe.nodes.document import of_outcome, of_results
from ncclprobe.nodes.simulated import SimulatedFleet
from ncclprobe.records.nodes import GroupValue, NodesDocument, Round
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.store import Manifest, RunDirectory, command_line, default_directory, relevant_environment

NAME = "nodes"
ROUNDS, BUDGET = 8, 12.0


@click.command(NAME)
@click.option("--from", "results", type=click.Path(path_type=pathlib.Path), metavar="CSV", help="Judge past results.")
@click.option("--lower-is-better", is_flag=True, help="The values of --from are times.")
@click.option("--fabric", type=click.Path(path_type=pathlib.Path), metavar="TOML", help="Measure a simulated fabric.")
@click.option("--rounds", type=click.IntRange(1), help=f"Of disjoint pairs of all nodes  [default: {ROUNDS}]")
@click.option("--budget", type=click.FloatRange(1), help=f"Measurements a node, on average  [default: {BUDGET:g}]")
@click.option(
    "--threshold",
    type=click.FloatRange(0.005, 0.5),
    default=0.05,
    show_default=True,
    help="The smallest slowdown of interest.",
)
@shared_options
def command(
    results: pathlib.Path | None,
    fabric: pathlib.Path | None,
    rounds: int | None,
    budget: float | None,
    threshold: float,
    out: pathlib.Path | None,
    seed: int | None,
    *,
    lower_is_better: bool,
    as_json: bool,
) -> int:
    """Name the slow node, link or rail, with its slowdown and the evidence in a sentence.

    A group is as fast as its slowest part, so groups are compared, never ranks within one. CSV has a header with
    nodes (names, or a set such as dgx[001-004]) and value, and may have unit, rail and time.

    \b
    ncclprobe nodes --from results.csv
    ncclprobe nodes --from latencies.csv --lower-is-better
    ncclprobe nodes --fabric fabric.toml --seed 1
    """  # noqa: D301 (click reads the backspace)
    _refuse_contradictions(results, fabric, rounds, budget, lower_is_better=lower_is_better)
    manifest = Manifest(
        command=NAME,
        argv=command_line(),
        seed=drawn_seed(seed),
        environment=relevant_environment(dict(os.environ)),
        options={"threshold": threshold, "rounds": rounds or ROUNDS, "budget": budget or BUDGET},
    )
    if results is not None:
        document = _judged(results, threshold, lower_is_better=lower_is_better)
        path = _kept(document, out, manifest)
    else:
        document, path = measured(fabric or pathlib.Path(), out or default_directory(NAME), manifest)
    return finish(document, lambda: nodes_text(document, path), as_json=as_json)


def _refuse_contradictions(
    results: pathlib.Path | None,
    fabric: pathlib.Path | None,
    rounds: int | None,
    budget: float | None,
    *,
    lower_is_better: bool,
) -> None:
    if (results is None) == (fabric is None):
        raise UsageError("say what to judge: --from CSV for past results, or --fabric TOML for a simulated fabric")
    if results is not None and (rounds is not None or budget is not None):
        raise UsageError("--from measures nothing; leave --rounds and --budget away")
    if fabric is not None and lower_is_better:
        raise UsageError("--lower-is-better is about the values of --from; leave it away")


def _judged(path: pathlib.Path, threshold: float, *, lower_is_better: bool) -> NodesDocument:
    """Return the verdicts on a CSV of past results."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"cannot read {path} ({problem}); name a CSV in UTF-8") from problem
    return of_results(parse_results(text, str(path), lower_is_better=lower_is_better), str(path), threshold)


def _kept(document: NodesDocument, out: pathlib.Path | None, manifest: Manifest) -> str:
    """Write the document to a run directory if one was asked for, and return its path."""
    if out is None:
        return ""
    with RunDirectory.create(out, manifest) as directory:
        directory.finish(document)
    return str(out)


def measured(path: pathlib.Path, out: pathlib.Path, manifest: Manifest) -> tuple[NodesDocument, str]:
    """Return the verdicts on a simulated fabric, every value being journalled as it comes."""
    fabric = read_fabric(path)
    if len(fabric.nodes) < 2:
        raise UsageError(f"{path} describes one node; with nothing to compare it with, nothing can be said of it")
    fleet = SimulatedFleet(fabric, manifest.seed)
    with RunDirectory.create(out, manifest) as directory:

        def measure(planned: Round) -> Iterable[GroupValue]:
            for value in fleet.measure(planned):
                directory.append(value, "group-value")
                yield value

        plan = Plan(**manifest.options)
        outcome = run(fabric.nodes, fleet.rails, measure, plan, np.random.default_rng([manifest.seed, 0]))
        source = f"simulated fabric {fabric.name}"
        document = of_outcome(outcome, fabric.nodes, fabric.gpus_per_node, source, manifest.seed)
        directory.finish(document)
    return document, str(out)
