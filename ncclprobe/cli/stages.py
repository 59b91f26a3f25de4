"""The stages of ``ncclprobe tune``: each gets its folder and the run so far, and returns its document."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ncclprobe.backends.fabric import read_fabric
from ncclprobe.cli.course import Course, Skipped, fresh
from ncclprobe.cli.e2e_arms import TABLE_FILE
from ncclprobe.cli.e2e_run import run_trials
from ncclprobe.cli.nodes_run import BUDGET as NODES_BUDGET
from ncclprobe.cli.nodes_run import ROUNDS, measured
from ncclprobe.cli.sweep import open_run, swept
from ncclprobe.errors import RunDirectoryError
from ncclprobe.records.base import Document
from ncclprobe.records.e2e import TABLE_VARIABLE, TELEMETRY_S, ArmSettings, E2eOptions, ProxyShape
from ncclprobe.records.env import EnvDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import StageName, TuneOptions
from ncclprobe.scan.check import judged
from ncclprobe.store import MANIFEST, Manifest, RunDirectory, command_line, relevant_environment
from ncclprobe.sweep.plan import SweepOptions
from ncclprobe.tuner.confirm import candidate
from ncclprobe.tuner.emit import Form, emitted
from ncclprobe.tuner.environ import Settings, merged, scan_settings, sweep_settings

FILES = {
    Form.SHELL: "settings.sh",
    Form.SLURM: "slurm.sh",
    Form.PBS: "pbs.sh",
    Form.NCCL_CONF: "nccl.conf",
    Form.TUNER: "tuner.csv",
}
"""What is emitted -> its file in the folder ``env``."""
WITHOUT_WORKLOAD = {
    "sim": "a simulated fabric runs no workload",
    "nccl": "the proxy runs on processors over MPI and says nothing of NCCL; validate-e2e --workload sglang does",
}
"""Backend -> why no workload follows its sweep."""
TRIALS = 20
"""An arm, at most; the budget usually ends the comparison."""
TRIAL_TIMEOUT_S = 60.0
MIN_EFFECT = 0.02


def scan(course: Course, path: pathlib.Path) -> ScanDocument:
    """Probe this machine."""
    from ncclprobe.scan.collect import collect

    found = collect()
    document = judged(found.hosts, found.findings)
    with RunDirectory.create(fresh(path), manifest(course, StageName.SCAN)) as directory:
        directory.finish(document)
    return document


def sweep(course: Course, path: pathlib.Path) -> SweepDocument:
    """Measure every setting against the defaults; an interrupted sweep goes on."""
    options = sweep_options(course.options)
    with open_run(None if (path / MANIFEST).exists() else options, path) as directory:
        return swept(directory)


def sweep_options(asked: TuneOptions) -> SweepOptions:
    """Return the sweep that is a stage of what was asked for."""
    return SweepOptions(
        backend=asked.backend,
        fabric=asked.fabric,
        nranks=asked.nranks,
        sizes=asked.sizes,
        budget_s=asked.sweep_budget_s,
        seed=asked.seed,
    )


def nodes(course: Course, path: pathlib.Path) -> Document | Skipped:
    """Look for slow nodes, links and rails where there are nodes to compare."""
    if course.options.fabric is None:
        return Skipped("only this node takes part, and there is no other to compare it with")
    fabric = pathlib.Path(course.options.fabric)
    if len(read_fabric(fabric).nodes) < 2:
        return Skipped(f"{fabric.name} describes one node, and there is no other to compare it with")
    plan = {"threshold": 0.05, "rounds": ROUNDS, "budget": NODES_BUDGET}
    return measured(fabric, fresh(path), manifest(course, StageName.NODES, plan))[0]


def env(course: Course, path: pathlib.Path) -> EnvDocument:
    """Emit what scan and sweep recommend, as files that jobs load."""
    settings = recommended(course.read(StageName.SCAN, ScanDocument), course.read(StageName.SWEEP, SweepDocument))
    with RunDirectory.create(fresh(path), manifest(course, StageName.ENV)) as directory:
        return emit(settings, directory)


def recommended(scan: ScanDocument | None, sweep: SweepDocument | None) -> Settings:
    """Return what the stages recommend together; None for one that is not to count."""
    parts = [scan_settings(scan, "scan")] if scan is not None else []
    return merged([*parts, sweep_settings(sweep, "sweep")] if sweep is not None else parts)


def emit(settings: Settings, directory: RunDirectory) -> EnvDocument:
    """Write the settings in every form that has something to say, and no other.

    Raises:
        RunDirectoryError: A file cannot be written.
    """
    nccl = any(variable.name.startswith("NCCL_") for variable in settings.variables)
    silent = {Form.NCCL_CONF: not nccl, Form.TUNER: not settings.rows}
    for form, name in FILES.items():
        file = directory.path / name
        try:
            file.unlink(missing_ok=True)
            if not silent.get(form, False):
                file.write_text(emitted(settings, form), encoding="utf-8")
        except OSError as problem:
            raise RunDirectoryError(f"cannot write {file}: {problem.strerror}; free space, then --resume") from problem
    document = EnvDocument(
        sources=settings.sources,
        format=Form.SHELL.value,
        env=settings.variables,
        table=settings.rows,
        text=emitted(settings, Form.SHELL),
    )
    directory.finish(document)
    return document


def validate(course: Course, path: pathlib.Path) -> Document | Skipped:
    """Compare the choice with the defaults by the proxy workload; an interrupted comparison goes on."""
    if course.options.backend in WITHOUT_WORKLOAD:
        return Skipped(WITHOUT_WORKLOAD[course.options.backend])
    path = path.absolute()
    if (path / MANIFEST).exists():
        directory = RunDirectory.resume(path, StageName.VALIDATE)
    else:
        tried = candidate(course.read(StageName.SWEEP, SweepDocument), ProxyShape())
        if tried is None:
            return Skipped("no size that was swept or would change can be a message of the proxy's decode loop")
        options = msgspec.to_builtins(_trial_options(course.options, tried.settings, tried.shape, path))
        directory = RunDirectory.create(path, manifest(course, StageName.VALIDATE, options))
    with directory:
        return run_trials(directory)


def _trial_options(asked: TuneOptions, arm: ArmSettings, shape: ProxyShape, path: pathlib.Path) -> E2eOptions:
    table = {TABLE_VARIABLE: str(path / TABLE_FILE)} if arm.table else {}
    return E2eOptions(
        workload="proxy",
        baseline=ArmSettings(),
        candidate=arm.with_(env=arm.env | table),
        trials=TRIALS,
        warmups=1,
        min_effect=MIN_EFFECT,
        budget_s=asked.e2e_budget_s,
        timeout_s=TRIAL_TIMEOUT_S,
        seed=asked.seed,
        proxy=shape,
        telemetry_s=TELEMETRY_S,
    )


def manifest(course: Course, name: StageName, options: Mapping[str, Any] | None = None) -> Manifest:
    """Return the manifest of a stage's folder."""
    return Manifest(
        command=name.value,
        argv=command_line(),
        seed=course.options.seed,
        environment=relevant_environment(dict(os.environ)),
        options=dict(options or {}),
    )


STAGES: dict[StageName, Callable[[Course, pathlib.Path], Document | Skipped]] = {
    StageName.SCAN: scan,
    StageName.SWEEP: sweep,
    StageName.NODES: nodes,
    StageName.ENV: env,
    StageName.VALIDATE: validate,
}
"""In order."""
