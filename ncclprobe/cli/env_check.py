"""``ncclprobe env check``: load what was emitted into fresh ranks, and read back what the library chose."""

from __future__ import annotations

import contextlib
import difflib
import os
import pathlib
from collections.abc import Iterator, Mapping

import click

from ncclprobe.backends import make_backend
from ncclprobe.backends.base import Backend, BackendOptions
from ncclprobe.backends.geometry import ITEM_BYTES, part_bytes
from ncclprobe.backends.mpi import default_ranks
from ncclprobe.backends.mpi_settings import PREFIXES, MpiSettings
from ncclprobe.cli.colour import painted
from ncclprobe.cli.numbers import Number
from ncclprobe.cli.settings import run_settings
from ncclprobe.cli.verbosity import is_quiet, note, verbosity_options
from ncclprobe.errors import ProbeError, UsageError
from ncclprobe.findings import Finding, has_error
from ncclprobe.launchers import LAUNCHERS
from ncclprobe.launchers.scratch import Scratch
from ncclprobe.names import DEFAULT, Algo, Collective, Proto
from ncclprobe.nodesets import expand
from ncclprobe.reading import whole_file
from ncclprobe.records.check import EnvCheckDocument
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Launch, Measurement, Point, Status
from ncclprobe.records.tuner import TUNED_COLLECTIVES, Recorded
from ncclprobe.report.text.check import check_text, check_verdict
from ncclprobe.report.text.next_step import next_step
from ncclprobe.secrecy import kept_json
from ncclprobe.tuner import check
from ncclprobe.tuner.build import plugin_path
from ncclprobe.tuner.environ import Settings
from ncclprobe.tuner.live import LiveTuner
from ncclprobe.tuner.table import parse_table, table_text
from ncclprobe.workload.recorded import read_record

TABLE, RECORD = "NCCLPROBE_TUNER_TABLE", "NCCLPROBE_TUNER_RECORD"
SHORTEST_S = 1e-9
"""A sample of one operation is long enough."""


@click.command("check")
@click.argument("source", metavar="RUN|TABLE", type=click.Path(exists=True, path_type=pathlib.Path))
@click.option("--nranks", type=click.IntRange(2), help="Ranks to start  [default: as many as were measured]")
@click.option(
    "--launcher", type=click.Choice(list(LAUNCHERS)), default="local", show_default=True, help="Starts ranks."
)
@click.option("--hosts", metavar="NODESET", help="Where ranks are started: dgx[001-002]  [default: this host]")
@click.option(
    "--dtype", type=click.Choice(list(ITEM_BYTES)), default="bfloat16", show_default=True, help="Of the messages."
)
@click.option(
    "--timeout", type=Number(0, min_open=True), default=10.0, show_default=True, metavar="SECONDS",
    help="An operation that takes longer is aborted.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Keep the table and the plugin's records in this folder, which all hosts must see  [default: none is kept]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else there.")
@verbosity_options
def check_command(
    source: pathlib.Path,
    nranks: int | None,
    launcher: str,
    hosts: str | None,
    dtype: str,
    timeout: float,
    out: pathlib.Path | None,
    *,
    as_json: bool,
) -> int:
    """Load what `env emit` gives of RUN, or a TABLE, into fresh ranks and read back what the library chose.

    A table is tried at both ends of each row and just outside, with ncclprobe's plugin; an MPI library's variables are
    read back through MPI_T. What is not in force is an error: exit status 3.
    """
    settings = _settings(source)
    env = {variable.name: variable.value for variable in settings.variables}
    ranks = nranks or _measured_ranks(settings.rows)
    options = BackendOptions(nranks=ranks, launcher=launcher, hosts=tuple(expand(hosts)) if hosts else ())
    if check.foreign(settings.rows) or any(name.startswith(PREFIXES) for name in env):
        document = _mpi(str(source), settings, env, options)
    elif settings.rows:
        with _folder(out, launcher) as folder:
            document = Trial(settings, env, options, folder).document(str(source), dtype, timeout)
    else:
        document = EnvCheckDocument(source=str(source), library=None, nranks=None, nnodes=None, env=env)
    if as_json:
        click.echo(kept_json(document).decode())
    else:
        parts = (check_verdict(document),) if is_quiet() else (check_text(document), next_step(document, _run(source)))
        click.echo(painted("\n\n".join(part for part in parts if part)))
    return 3 if has_error(document.findings) else 0


def _run(source: pathlib.Path) -> str:
    """Return how a run is named that `env emit` takes, empty for a table."""
    return str(source) if source.is_dir() or source.suffix == ".json" else ""


def _settings(source: pathlib.Path) -> Settings:
    """Return what is to be in force: a run's choice, or a table as it stands."""
    if source.is_dir():
        return run_settings(source)
    try:
        text = whole_file(source).decode("utf-8", "replace")
    except OSError as problem:
        raise ProbeError(f"cannot read {source}: {problem.strerror}; name a run or a table") from problem
    if text.lstrip().startswith("{"):
        return run_settings(source)
    return Settings(sources=(str(source),), rows=parse_table(text, str(source)), table_only=True)


def _measured_ranks(rows: tuple[TunerRow, ...]) -> int | None:
    """Return the number of ranks that all rows are for, None where they don't say.

    Raises:
        UsageError: They are for several.
    """
    numbers = sorted({row.nranks for row in rows if row.nranks is not None})
    if len(numbers) > 1:
        raise UsageError(f"the rows are for {', '.join(map(str, numbers))} ranks; say with --nranks which to check")
    return numbers[0] if numbers else None


@contextlib.contextmanager
def _folder(out: pathlib.Path | None, launcher: str) -> Iterator[pathlib.Path]:
    """Yield a folder that every rank sees."""
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ProbeError(f"cannot make {out}: {problem.strerror}; choose another --out") from problem
        if any(out.glob("record.*")):
            raise UsageError(f"{out} has an earlier check's records; choose another --out")
        yield out.absolute()
        return
    with Scratch(None if launcher == "local" else pathlib.Path.cwd()) as scratch:
        yield scratch.path


def _mpi(source: str, settings: Settings, env: Mapping[str, str], options: BackendOptions) -> EnvCheckDocument:
    if not any(name.startswith(PREFIXES) for name in env):
        if misspelt := _misspelt(settings.rows):
            raise UsageError(f"{source}: {misspelt}")
        raise UsageError(
            f"{source} chooses an MPI library's algorithms by message size, which no MPI library reads from a table; "
            "there is nothing to load, so nothing to check"
        )
    nranks = options.nranks or default_ranks(options, os.environ)
    ranks = MpiSettings(nranks=nranks, launcher=options.launcher, hosts=options.hosts)
    note(f"reading {len(env)} variables in {nranks} fresh ranks")
    library, variables = ranks.checked(env)
    findings = tuple(check.doubts((), variables, nranks))
    return EnvCheckDocument(
        source=source, library=library, nranks=nranks, nnodes=None, env=dict(env), variables=variables,
        findings=findings,
    )  # fmt: skip


def _misspelt(rows: tuple[TunerRow, ...]) -> str:
    """Return which word is none of NCCL's but like one, empty where there is none such."""
    algos, protos = [algo.csv for algo in Algo], [proto.csv for proto in Proto]
    words = [("algorithm", row.algo, algos) for row in rows if Algo.parse(row.algo) is None]
    words += [("protocol", row.proto, protos) for row in rows if Proto.parse(row.proto) is None]
    for kind, word, known in words:
        if word != DEFAULT and (near := difflib.get_close_matches(word.lower(), known, n=1)):
            return f"NCCL has no {kind} {word}; write {near[0]}, or one of {', '.join(known)}"
    return ""


class Trial:
    """NCCL in fresh ranks with the settings, as a job has them."""

    def __init__(
        self, settings: Settings, env: Mapping[str, str], options: BackendOptions, folder: pathlib.Path
    ) -> None:
        """Write the table.

        Raises:
            ParseError: The plugin does not take it.
        """
        self._rows, self._env, self._folder = settings.rows, dict(env), folder
        self._by_table = settings.table_only
        self._backend: Backend = make_backend("nccl", options)
        if self._by_table:
            path = folder / "table.csv"
            path.write_text(table_text(self._rows), encoding="utf-8")
            LiveTuner(plugin_path()).load_table(path)
            self._env[TABLE] = str(path)

    def document(self, source: str, dtype: str, timeout_s: float) -> EnvCheckDocument:
        """Run every size once and return what was in force.

        Raises:
            LaunchError: The ranks could not be started or died.
        """
        with contextlib.closing(self._backend):
            first = self._backend.capabilities(self._collectives()[0])
            units = {c.value: part_bytes(c, dtype, first.nranks) for c in self._collectives()}
            points = self._points(units, dtype, first.nranks)
            note(f"{first.library}, {first.nranks} ranks: {len(points)} sizes of {len(self._rows)} rows")
            sizes = self._seen(points, first.nranks, timeout_s) if points else {}
        heard = check.Heard(sizes, self._records(), first.nranks, self._by_table)
        rows = check.checked(self._rows, units.get, heard)
        return EnvCheckDocument(
            source=source,
            library=first.library,
            nranks=first.nranks,
            nnodes=heard.nnodes,
            env=self._env,
            rows=rows,
            findings=(*_worth_knowing(first.findings), *check.doubts(rows, (), first.nranks)),
        )

    def _collectives(self) -> list[Collective]:
        """Return the rows' collectives that can be run."""
        runs: list[Collective] = [
            c for c in check.collectives(self._rows) if c in TUNED_COLLECTIVES and c is not Collective.REDUCE
        ]
        if not runs:
            raise UsageError("no row is about a collective that can be run here; reduce is not measured")
        return runs

    def _points(self, units: Mapping[str, int], dtype: str, nranks: int) -> list[Point]:
        found = {
            Point(collective=row.collective, dtype=dtype, size_bytes=size)
            for row in self._rows
            if row.collective in units and check.tried(row, nranks)
            for size in check.places(row, units[row.collective]).values()
        }
        return sorted(found)

    def _seen(self, points: list[Point], nranks: int, timeout_s: float) -> dict[tuple[str, int], check.Seen]:
        env = self._env | {RECORD: str(self._folder / "record")}
        launch = Launch(
            index=0, stage="check", nranks=nranks, warmups=0, timeout_s=timeout_s, seed=0, thorough=True,
            sample_s=SHORTEST_S, env=tuple(env.items()),
            blocks=tuple(Block(point=point, cells=(DEFAULT_CELL,)) for point in points),
        )  # fmt: skip
        found: dict[tuple[str, int], check.Seen] = {}
        for one in self._backend.measure(launch):
            place = one.point.collective, one.point.size_bytes
            found[place] = _with(found.get(place, check.Seen()), one)
        return found

    def _records(self) -> tuple[Recorded, ...]:
        return tuple(read_record(path.read_bytes(), str(path)) for path in sorted(self._folder.glob("record.*")))


def _with(seen: check.Seen, one: Measurement) -> check.Seen:
    """Return what a size showed with a further measurement of it."""
    trouble = next((status for status in one.statuses if status is not Status.OK), None)
    words = seen.trouble or (f"{trouble.value}: {one.message}" if trouble else "")
    return check.Seen(ran=next(iter(one.ran), seen.ran), trouble=words)


def _worth_knowing(findings: tuple[Finding, ...]) -> Iterator[Finding]:
    """Yield what matters here: a foreign tuner plugin would be replaced in the job as well."""
    yield from (finding for finding in findings if finding.code != "pretended-nodes")
