"""What every test shares: skips for what this machine lacks, and no such skip in CI."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import signal
import sys
from collections.abc import Generator

import pytest
from leftovers import Leftovers

LEFTOVERS = pytest.StashKey[Leftovers]()
CI_HAS = ("docs", "mpi", "cluster", "slurm", "browser", "tmux", "prometheus")
"""Markers of what CI can run: skipped there, such a test fails."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a marked test for which something is missing."""
    for marker, missing in MISSING.items():
        if item.get_closest_marker(marker) is not None and (reason := missing()):
            pytest.skip(reason)


def pytest_configure(config: pytest.Config) -> None:
    """Look around before anything is started, in the process that starts the others where there are several.

    A background job of a shell ignores Ctrl-C, and so would all that the tests start and interrupt.
    """
    if not hasattr(config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        config.stash[LEFTOVERS] = Leftovers()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where the session has left a process; in CI, where nobody else is at work, also where it has left a file."""
    leftovers = session.config.stash.get(LEFTOVERS, None)
    if leftovers is None or session.config.option.collectonly:
        return
    if left := [*leftovers.processes(), *(leftovers.files() if _in_ci() else [])]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("")
            reporter.write_line("\n  ".join(["These tests have left behind:", *left]), red=True)


def _mpi_missing() -> str:
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed: pip install -e '.[embedded]'"
    beside = pathlib.Path(sys.executable).parent / "mpiexec"
    return "" if beside.exists() or shutil.which("mpiexec") else "there is no mpiexec: pip install -e '.[embedded]'"


def _docs_missing() -> str:
    absent = [name for name in ("sphinx", "myst_parser", "furo") if importlib.util.find_spec(name) is None]
    return f"{absent[0]} is not installed: pip install -e '.[docs]'" if absent else ""


def _gpu_missing() -> str:
    return "" if pathlib.Path("/dev/nvidiactl").exists() else "this machine has no NVIDIA GPU"


def _cluster_missing() -> str:
    import testbed

    return testbed.missing()


def _slurm_missing() -> str:
    import slurm

    return _cluster_missing() or slurm.missing()


def _tmux_missing() -> str:
    return "" if shutil.which("tmux") else "there is no tmux: apt-get install tmux"


def _prometheus_missing() -> str:
    programs = ("prometheus", "prometheus-node-exporter")
    absent = [program for program in programs if shutil.which(program) is None]
    return f"missing: apt-get install {' '.join(absent)}" if absent else ""


def _browser_missing() -> str:
    absent = [name for name in ("selenium", "bokeh") if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} not installed: pip install -e '.[test]'"
    programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"there is no {' and no '.join(programs)}: apt-get install chromium chromium-driver" if programs else ""


MISSING = {
    "docs": _docs_missing,
    "mpi": _mpi_missing,
    "gpu": _gpu_missing,
    "cluster": _cluster_missing,
    "slurm": _slurm_missing,
    "browser": _browser_missing,
    "tmux": _tmux_missing,
    "prometheus": _prometheus_missing,
}
"""Marker -> what says why such a test cannot run here, nothing where it can."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test that CI can run into a failure there."""
    report = yield
    markers = [marker for marker in CI_HAS if item.get_closest_marker(marker) is not None]
    if _in_ci() and report.skipped and markers and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI must run tests marked {', '.join(markers)}, but this was skipped: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole module, whose marks cannot be known, into a failure in CI unless it is about GPUs."""
    report = yield
    if _in_ci() and report.skipped and "gpu" not in collector.nodeid:
        report.outcome = "failed"
        report.longrepr = f"CI must run {collector.nodeid}, but it was skipped: {_reason(report)}"
    return report


def _in_ci() -> bool:
    return os.environ.get("CI") == "true"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
