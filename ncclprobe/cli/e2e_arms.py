"""The arms of a comparison, from what ``validate-e2e`` was given."""

from __future__ import annotations

import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping

from ncclprobe.cli.settings import measured_library, measuring_manifest, run_settings, swept
from ncclprobe.decoding import readable
from ncclprobe.e2e.sglang_command import layout_of
from ncclprobe.errors import UsageError, reason
from ncclprobe.names import DEFAULT, Algo
from ncclprobe.reading import whole_file
from ncclprobe.records.e2e import TABLE_VARIABLE, Arm, ArmSettings, Layout
from ncclprobe.records.foretold import Expectation
from ncclprobe.records.inspect import TunerRow
from ncclprobe.secrecy import open_variables
from ncclprobe.store import Manifest
from ncclprobe.tuner.build import plugin_path
from ncclprobe.tuner.table import parse_table

PLUGIN_VARIABLE = "NCCL_TUNER_PLUGIN"
TABLE_FILE = "candidate-table.csv"
_VARIANT = re.compile(r"(?:tp|pp|dp|nnodes)=\d+(?:,(?:tp|pp|dp|nnodes)=\d+)*")


def arm_settings(texts: Iterable[str], table: pathlib.Path) -> ArmSettings:
    """Return what variables and runs set together; later ones win.

    Args:
        texts: ``NAME=VALUE``, a run directory or a document, each.
        table: Where a per-size choice will be written; the arm's environment names it.

    Raises:
        UsageError: A text is neither, or a variable is given two values.
    """
    env: dict[str, str] = {}
    given: dict[str, str] = {}
    rows: tuple[TunerRow, ...] = ()
    for text in texts:
        if _is_variable(text):
            env.update(_given_once(given, text))
            continue
        settings = run_settings(_existing(text))
        env |= {variable.name: variable.value for variable in settings.variables}
        rows = settings.rows if settings.table_only else ()
    if rows:
        return ArmSettings(env=env | {TABLE_VARIABLE: str(table)}, table=rows)
    return _with_own_table(env)


def baseline_settings(texts: Iterable[str]) -> ArmSettings:
    """Return what variables set together.

    Args:
        texts: ``NAME=VALUE``, each.

    Raises:
        UsageError: A text is something else, or a variable is given two values.
    """
    env: dict[str, str] = {}
    for text in texts:
        _given_once(env, text)
    return _with_own_table(env)


def _given_once(given: dict[str, str], text: str) -> dict[str, str]:
    """Note a variable, and return it alone."""
    name, value = variable_of(text)
    if given.setdefault(name, value) != value:
        raise UsageError(f"{name} is given two values, and an arm has one; compare them in two runs")
    return {name: value}


def _with_own_table(env: dict[str, str]) -> ArmSettings:
    """Return an arm with the table that its variables name, found from whatever folder its trials start in."""
    if not env.get(TABLE_VARIABLE):  # the plugin takes an empty name for none
        return ArmSettings(env=env)
    path = pathlib.Path(env[TABLE_VARIABLE]).absolute()
    return ArmSettings(env=env | {TABLE_VARIABLE: str(path)}, table=_read_table(path))


def inherited_by(arms: Iterable[ArmSettings], environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment has of the variables that arms set, but for what must not be kept."""
    names = sorted({name for arm in arms for name in arm.env} & {*environment})
    values = {name: readable(environment[name]) for name in names}
    return {name: value for name, value in values.items() if open_variables({name: value})[name] == value}


def refuse_nothing(texts: Iterable[str], baseline: ArmSettings, candidate: ArmSettings | None) -> None:
    """Raise UsageError where a run recommends nothing: hours of trials would compare an arm with itself."""
    runs = [text for text in texts if not _is_variable(text)]
    if runs and candidate == baseline:
        raise UsageError(
            f"{runs[-1]} recommends nothing to set, so both arms would be the same; name a run with a choice, or"
            " --candidate NAME=VALUE"
        )


def for_workload(workload: str, name: str, arm: ArmSettings) -> ArmSettings:
    """Return an arm as a workload runs it, so that its table, if it has one, is in force there.

    Args:
        workload: Which.
        name: The arm's.
        arm: Its settings.

    Raises:
        UsageError: The workload cannot apply the table.
        MissingDependencyError: There is no plugin to apply it, and no compiler to make it.
    """
    if workload == "proxy":
        refuse_foreign_table(arm, name)
    return with_plugin(arm, name) if workload == "command" else arm


def refuse_foreign_table(arm: ArmSettings, name: str) -> None:
    """Raise UsageError where a table chooses NCCL's protocols: the proxy would run MPI's algorithms of like names."""
    foreign = next((row for row in arm.table if row.proto != DEFAULT or row.nchannels is not None), None)
    if foreign:
        raise UsageError(
            f"the {name}'s table is for NCCL ({foreign.algo}, {foreign.proto}), and the workload `proxy` runs on"
            " MPI; use --workload sglang or command"
        )


def measured_with(texts: Iterable[str]) -> str:
    """Return the library with which the settings of the last run among them were found, empty where none says."""
    paths = (pathlib.Path(text) for text in texts if not _is_variable(text))
    found = [library for path in paths if (library := measured_library(path))]
    return found[-1] if found else ""


def measured_by(texts: Iterable[str]) -> Manifest | None:
    """Return how the last run among them was started, None where it does not say."""
    paths = [pathlib.Path(text) for text in texts if not _is_variable(text)]
    return measuring_manifest(paths[-1]) if paths else None


def expectation_of(texts: Iterable[str], arms: Iterable[ArmSettings]) -> Expectation | None:
    """Return what the last sweep among them predicts for the workload that it was given, None without such a one.

    Args:
        texts: The candidate's.
        arms: The baseline's settings and the candidate's.
    """
    paths = [pathlib.Path(text) for text in texts if not _is_variable(text)]
    found = [(path, sweep) for path in paths if (sweep := swept(path)) is not None and sweep.prediction is not None]
    if not found:
        return None
    path, sweep = found[-1]
    assert sweep.prediction is not None  # noqa: S101 - filtered just above
    return Expectation(
        run=str(path),
        backend=sweep.backend,
        nranks=sweep.nranks,
        nnodes=sweep.nnodes,
        prediction=sweep.prediction,
        beside=_beside(path, arms),
    )


def _beside(path: pathlib.Path, arms: Iterable[ArmSettings]) -> tuple[str, ...]:
    """Return the variables of the arms that are neither a sweep's choice nor what it ran with, by name."""
    manifest = measuring_manifest(path)
    known = (manifest.environment if manifest else {}) | {one.name: one.value for one in run_settings(path).variables}
    names = (name for arm in arms for name, value in arm.env.items() if known.get(name) != value)
    return tuple(sorted({*names} - {TABLE_VARIABLE, PLUGIN_VARIABLE}))


def with_layouts(
    baseline: ArmSettings, candidate: ArmSettings | None, base: Layout, variants: Iterable[str]
) -> tuple[ArmSettings, ArmSettings | None, dict[str, ArmSettings]]:
    """Return baseline, candidate and the grid's further arms, all with their layouts.

    Each variant is an arm with the baseline's settings and, where there is a candidate, another one with its.

    Raises:
        UsageError: A variant is no layout, stands twice, or is the baseline's own.
    """
    further: dict[str, ArmSettings] = {}
    for text in variants:
        layout = layout_of(text, base)
        if layout == base or layout.label in further:
            raise UsageError(f"--variants {text!r} is there already: the baseline runs with {base.label}")
        further[layout.label] = baseline.with_(layout=layout)
        if candidate is not None:
            further[f"{Arm.CANDIDATE}+{layout.label}"] = candidate.with_(layout=layout)
    tried = None if candidate is None else candidate.with_(layout=base)
    return baseline.with_(layout=base), tried, further


def split_variants(tokens: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the layouts that stand before a command line's other words, and these."""
    variants = tuple(itertools.takewhile(_VARIANT.fullmatch, tokens))
    return variants, tokens[len(variants) :]


def _is_variable(text: str) -> bool:
    return re.match(r"[A-Za-z_][A-Za-z0-9_]*=", text) is not None


def variable_of(text: str) -> tuple[str, str]:
    """Return a variable's name and value.

    Raises:
        UsageError: The text is not ``NAME=VALUE``.
    """
    name, _, value = text.partition("=")
    if not _is_variable(text) or "\0" in value:
        raise UsageError(f"{text!r} is not NAME=VALUE")
    return name, value


def _existing(text: str) -> pathlib.Path:
    path = pathlib.Path(text)
    if not path.exists():
        raise UsageError(
            f"{text!r} is neither NAME=VALUE nor a run; name a run directory or a document of sweep or scan"
        )
    return path


def with_plugin(arm: ArmSettings, name: str = Arm.CANDIDATE) -> ArmSettings:
    """Return an arm whose table NCCL applies by itself, through the tuner plugin that the environment names.

    Raises:
        UsageError: The table is about another library's algorithms, which no variable hands to a command.
        MissingDependencyError: There is no plugin, and no compiler to make it.
    """
    if not arm.table or PLUGIN_VARIABLE in arm.env:
        return arm
    foreign = [row.algo for row in arm.table if row.algo != DEFAULT and Algo.parse(row.algo) is None]
    if foreign:
        raise UsageError(
            f"the {name}'s choice depends on the message size, and {foreign[0]} is none of NCCL's algorithms: no"
            " variable hands such a table to a command; use --workload proxy"
        )
    return arm.with_(env={**arm.env, PLUGIN_VARIABLE: str(plugin_path())})


def _read_table(path: pathlib.Path) -> tuple[TunerRow, ...]:
    try:
        return parse_table(whole_file(path).decode(), str(path))
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{TABLE_VARIABLE}: cannot read {path} ({reason(problem)}); name a tuner table") from problem
