"""The workload ``sglang``: its benchmarks as real processes, with what was in force in each trial."""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ncclprobe.decoding import any_json, readable
from ncclprobe.e2e.command import last_lines
from ncclprobe.e2e.evidence import FOLLOWED, Evidence, in_force_of, not_in_force
from ncclprobe.e2e.sglang_checks import checks, expected_all_reduces
from ncclprobe.e2e.sglang_command import (
    METRICS,
    MODULES,
    RESULT,
    Address,
    Found,
    benchmark_tokens,
    client_results,
    client_tokens,
    medians,
    model_arguments,
    python_of,
    refuse_own,
    requests_of,
    result_of,
    server_tokens,
)
from ncclprobe.e2e.sglang_doubts import doubts
from ncclprobe.e2e.sglang_model import CONFIG, CONVERSATIONS, MODELS, PROMPTS, ModelFacts, model_files, read_facts
from ncclprobe.e2e.sglang_run import ANYWHERE, LOOPBACK, Nodes, Trial, free_port, run_benchmark, run_serving
from ncclprobe.e2e.workers import Workers
from ncclprobe.e2e.workload import Limit, Outcome, Surroundings
from ncclprobe.errors import MissingDependencyError, ParseError, UsageError
from ncclprobe.findings import Finding
from ncclprobe.launchers import make_launcher
from ncclprobe.processes import run
from ncclprobe.reading import log_end
from ncclprobe.records import e2e
from ncclprobe.records.e2e import OWN_TIME, ArmSettings, Bench, E2eOptions, Layout
from ncclprobe.records.foretold import Sent
from ncclprobe.records.in_force import InForce
from ncclprobe.store import relevant_environment
from ncclprobe.tuner.build import plugin_path

PLUGIN_VARIABLE = "NCCL_TUNER_PLUGIN"
CARRIED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CUDA_HOME")
"""Of this node's environment, beside what matters to NCCL and SGLang: a launcher may drop all of it."""
PROBE_TIMEOUT_S = 120.0
PROBE = """
import importlib.metadata, importlib.util, json, pathlib, sys
spec = importlib.util.find_spec("sglang")
if spec is None:
    sys.exit("no module named sglang")
roots = [pathlib.Path(place) for place in spec.submodule_search_locations]
there = [name for name in sys.argv[1:] if any(root.joinpath(*name.split(".")[1:]).with_suffix(".py").is_file()
                                               for root in roots)]
try:
    version = importlib.metadata.version("sglang")
except importlib.metadata.PackageNotFoundError:
    version = None
print(json.dumps({"version": version, "modules": there}))
"""
"""Asks a Python for SGLang without importing it, which takes long."""


class SglangWorkload:
    """Starts SGLang for each trial: the noise lies between its starts."""

    opening = "warm-ups come first and do not count; where kernels are compiled, 10 to 20 minutes for a full model"

    def __init__(self, options: E2eOptions, surroundings: Surroundings) -> None:
        self._options, self._surroundings = options, surroundings
        self._sglang = options.sglang
        refuse_own(self._sglang)
        self._refuse_pipeline()
        self.metric = options.metric or METRICS[self._sglang.bench]
        self._start = python_of(self._sglang, sys.executable)
        self._found = found_by(self._start)
        self._nodes = self._launcher_of_nodes()
        self._plugin = self._plugin_variable()
        self._facts = self._model_facts()

    def _refuse_pipeline(self) -> None:
        """Refuse what one-batch would ignore. Source: SGLang 0.5.17, benchmark/one_batch.py (``pp_size=1``)."""
        deep = [name for name, arm in self._options.arms.items() if _layout(arm).pp > 1]
        if deep and self._sglang.bench is Bench.ONE_BATCH:
            raise UsageError(f"--bench one-batch has no pipeline stages, which {deep[0]} asks for; leave out pp")

    def _launcher_of_nodes(self) -> Any:
        if all(_layout(arm).nnodes == 1 for arm in self._options.arms.values()):
            return None
        if self._sglang.launcher in (None, "local"):
            raise UsageError("several nodes need a launcher; name --launcher mpirun, srun or pbs")
        return make_launcher(self._sglang.launcher)

    def _plugin_variable(self) -> dict[str, str]:
        """Return what loads our tuner plugin, nothing where another has its place or none can be compiled."""
        if PLUGIN_VARIABLE in os.environ:
            return {}
        try:
            return {PLUGIN_VARIABLE: str(plugin_path())}
        except MissingDependencyError:
            if any(arm.table and PLUGIN_VARIABLE not in arm.env for arm in self._options.arms.values()):
                raise
            return {}

    @property
    def _model(self) -> str:
        made = self._sglang.model in MODELS
        return str(self._surroundings.directory / "model" / self._sglang.model) if made else self._sglang.model

    @property
    def _prompts(self) -> str | None:
        return str(pathlib.Path(self._model) / PROMPTS) if self._sglang.model in MODELS else None

    def _model_facts(self) -> ModelFacts | None:
        if self._sglang.model in MODELS:
            return read_facts(model_files(self._sglang.model)[CONFIG])
        try:
            return read_facts((pathlib.Path(self._model) / CONFIG).read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    # ---- a trial

    def run(self, arm: ArmSettings, log: pathlib.Path, limit: Limit, started: Callable[[int], None]) -> Outcome:
        """Run the benchmark once, and read its result and what was in force."""
        folder = log.with_suffix("").absolute()
        folder.mkdir(exist_ok=True)
        self._make_model()
        environment, workers = self._environment(arm, folder), Workers(arm.env)
        with log.open("wb") as output:
            trial = Trial(
                folder=folder,
                environment=environment,
                carried=_carried(environment, arm),
                nodes=self._nodes_of(arm),
                log=output.fileno(),
                workers=workers,
                started=started,
                deadline=time.monotonic() + limit.seconds,
            )
            command, why = self._run(trial, arm)
        return self._outcome(arm, trial, command, self._ending(why, limit), log)

    def _make_model(self) -> None:
        if self._sglang.model not in MODELS:
            return
        folder = pathlib.Path(self._model)
        folder.mkdir(parents=True, exist_ok=True)
        prompts = max(CONVERSATIONS, requests_of(self._sglang) or 0)
        for name, text in model_files(self._sglang.model, prompts).items():
            (folder / name).write_text(text, encoding="utf-8")

    def _environment(self, arm: ArmSettings, folder: pathlib.Path) -> dict[str, str]:
        """Return the whole environment; an arm's own settings come before what makes it visible."""
        visible = {
            "NCCL_DEBUG": "INFO",
            "NCCL_DEBUG_SUBSYS": "INIT,ENV,TUNING",
            "NCCL_DEBUG_FILE": f"{folder}/nccl.%h.%p",
            "NCCLPROBE_TUNER_RECORD": f"{folder}/tuner",
            "SPT_NOENV": "1",  # keeps setproctitle from overwriting what /proc shows of the environment
        }
        return {**os.environ, **self._plugin, **visible, **arm.env}

    def _nodes_of(self, arm: ArmSettings) -> Nodes | None:
        nnodes = _layout(arm).nnodes
        if nnodes == 1:
            return None
        return Nodes(self._nodes, nnodes, self._sglang.hosts, self._options.telemetry_s)

    def _run(self, trial: Trial, arm: ArmSettings) -> tuple[list[str], str | int | None]:
        """Return the command that was run, and how it ended: 0, a status, None for too late, or what ended before."""
        asked, made, result = self._sglang, self._sglang.model in MODELS, str(trial.folder / RESULT)
        model = model_arguments(self._model, made=made, layout=_layout(arm), arguments=asked.arguments)
        if asked.bench is not Bench.SERVING:
            tokens = benchmark_tokens(asked, self._found, self._start, model, result, self._prompts)
            return tokens, run_benchmark(trial, tokens)
        port = free_port()
        address = Address(host=LOOPBACK if trial.nodes is None else ANYWHERE, port=port)
        server = server_tokens(asked, self._start, model, address)

        def client(name: str, host: str) -> list[str]:
            at, taken = Address(host=host, port=port), str(trial.folder / name)
            return client_tokens(asked, self._found, self._start, self._model, at, taken, self._prompts)

        names = itertools.chain(*client_results(asked.repeats))
        who, status = run_serving(trial, server, port, [functools.partial(client, name) for name in names])
        ended_early = f"the server ended before it answered, with status {status}"
        return server, ended_early if who == "server" and status is not None else status

    @staticmethod
    def _ending(status: str | int | None, limit: Limit) -> str:
        """Return why a trial failed, empty where it did not."""
        if status is None:
            return limit.said
        if isinstance(status, str):
            return status
        return "" if status == 0 else f"exit status {status}" if status > 0 else f"ended by signal {-status}"

    def _outcome(self, arm: ArmSettings, trial: Trial, command: list[str], why: str, log: pathlib.Path) -> Outcome:
        in_force = self._in_force(arm, trial)
        effective = {
            "command": command,
            "env": relevant_environment(dict(trial.environment)) | arm.env,
            "in_force": msgspec.to_builtins(in_force),
        }
        runs: tuple[dict[str, float], ...] = ()
        if not why:
            try:
                runs = tuple(self._results(trial))
            except ValueError as problem:
                why = str(problem)
        why = why or not_in_force(in_force, arm.env, needs_plugin=bool(arm.table))
        if why:
            said = [*in_force.errors[:1], *last_lines(_text(log))]
            return Outcome(metrics={}, effective=effective, message="\n".join([why, *said]))
        metrics, repeats = medians(runs), runs if len(runs) > 1 else ()
        return Outcome(metrics=metrics, effective=effective, repeats=repeats, sent=self._sent(trial, log, metrics))

    def _sent(self, trial: Trial, log: pathlib.Path, metrics: Mapping[str, float]) -> Sent | None:
        """Return what one rank sent, where a prediction is to be held against it.

        A server's operations are of its clients' runs together, the one that warms it up among them.
        """
        if self._options.expected is None:
            return None
        found = self._surroundings.read_profile((trial.folder, log))
        serving = self._sglang.bench is Bench.SERVING
        own = next((metrics[name] for name in OWN_TIME if name in metrics), None)
        runs = self._sglang.repeats + 1 if serving else 1
        return Sent(messages=found.messages, steps=found.steps, runs=runs, seconds=own)

    def _results(self, trial: Trial) -> Iterator[dict[str, float]]:
        """Yield the numbers of each run that counts."""
        for name in client_results(self._sglang.repeats)[1]:
            yield result_of(_text(trial.folder / name), self.metric)

    # ---- what was in force

    def _in_force(self, arm: ArmSettings, trial: Trial) -> InForce:
        layout, facts = _layout(arm), self._facts
        expected = expected_all_reduces(facts, layout, self._sglang.arguments)
        evidence = self._evidence(trial)
        return in_force_of(evidence, trial.environment, arm.env, expected)

    def _evidence(self, trial: Trial) -> Evidence:
        files = sorted(trial.folder.glob("nccl.*"))
        logs = (self._surroundings.read_log(file.name, file.read_bytes()) for file in files)
        numbers = {int(file.suffix[1:]) for file in files if file.suffix[1:].isdecimal()}
        return Evidence(
            logs=tuple(log for log in logs if log is not None),
            records=tuple(self._records(sorted(trial.folder.glob("tuner.*")))),
            processes=trial.workers.found(numbers),
        )

    def _records(self, files: Sequence[pathlib.Path]) -> list[Any]:
        found = []
        for file in files:
            try:
                found.append(self._surroundings.read_record(file.read_bytes(), file.name))
            except ParseError:  # a process that was killed while it made the file has counted nothing
                continue
        return found

    # ---- findings

    def checks(self) -> tuple[Finding, ...]:
        """Return what SGLang refuses, or what others found to fail or to be slow, of each arm."""
        return tuple(
            finding
            for name, arm in self._options.arms.items()
            for finding in checks(name, _layout(arm), self._sglang, self._facts, self._found.version)
        )

    def doubts(self, trials: Sequence[e2e.Trial]) -> tuple[Finding, ...]:
        """Return where the trials did not run as they were to run."""
        return doubts(trials, self._options.arms, self._sglang)


def _layout(arm: ArmSettings) -> Layout:
    return arm.layout or Layout()


def _carried(environment: dict[str, str], arm: ArmSettings) -> dict[str, str]:
    """Return what further nodes are given."""
    followed = {name for name in environment if name.startswith(FOLLOWED)}
    names = {*relevant_environment(environment), *followed, *CARRIED, *arm.env}
    return {name: readable(environment[name]) for name in sorted(names) if name in environment}


def _text(path: pathlib.Path) -> str:
    try:
        return log_end(path)
    except OSError:
        return ""


def found_by(start: Sequence[str]) -> Found:
    """Return what a Python says of its SGLang.

    Raises:
        MissingDependencyError: It has none, or does not start.
    """
    names = [name for modules in MODULES.values() for name in modules]
    ended = run([*start, "-c", PROBE, *names], timeout_s=PROBE_TIMEOUT_S)
    said = ended.stdout.strip().splitlines()
    try:
        if ended.returncode == 0 and said:
            return msgspec.convert(any_json(said[-1]), Found)
    except (ValueError, msgspec.ValidationError):
        pass
    why = " ".join(last_lines(ended.stderr)[-1:]) or f"exit status {ended.returncode}"
    raise MissingDependencyError(
        f"{' '.join(start)} has no SGLang: {why}; `pip install 'ncclprobe[sglang]'`, or say where it is with --python "
        "or, for a container, --prefix"
    )
