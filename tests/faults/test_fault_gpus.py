"""Faults of real ranks on real GPUs: killed, stopped, out of memory, without their plugin, interrupted as they start.

One GPU is enough: its two ranks then talk through sockets. Every command has a limit, names what was at fault, leaves
no process, keeps what it measured, and goes on with --resume.
"""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import fault_runs
import pytest
from fault_runs import Ended, Run, lines

from ncclprobe.backends.nccl_library import gpu_count
from ncclprobe.processes import environment_of, started_at
from ncclprobe.tuner import build

pytestmark = pytest.mark.gpu

HOST = os.uname().nodename
ENDED_S = 150.0
"""A sweep's budget, three starts of ranks that load CUDA, and a margin."""
SWEEP = ("sweep", "--backend", "nccl", "--nranks", "2", "--algo", "Ring", "--proto", "LL,Simple", "--sizes", "1M,64M",
         "--sample", "100", "--budget", "15", "--timeout", "3", "--seed", "1")  # fmt: skip
"""Samples are long: a launch lasts for seconds, and what happens to its ranks happens while they measure."""
LEFT_BYTES, WANTED = 4 << 30, "4G"
"""What the other process leaves of a GPU's memory, ranks' own needs in it, and what a buffer is to have."""
HOLDER = """
import sys, cupy
cupy.cuda.Device(int(sys.argv[1])).use()
held = cupy.cuda.Memory(cupy.cuda.runtime.memGetInfo()[0] - int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ranks load CUDA and NCCL, from a cold disk, too."""
    monkeypatch.setattr(fault_runs, "PATIENCE_S", 120.0)


def measuring(run: Run) -> dict[int, int]:
    """Return the processes that measure, by rank: those of the next launch may wait beside them."""
    found: dict[int, int] = {}

    def both() -> bool:
        oldest = sorted(run.ranks(), key=started_at)[:2]
        found.update({int(rank): pid for pid in oldest if (rank := environment_of(pid).get("RANK"))})
        return len(found) == 2

    run.wait_for(both)
    return found


def resumed(folder: pathlib.Path, out: pathlib.Path, **env: str) -> Ended:
    """Return how the run ends with what was left of it, which has to give further samples."""
    kept = len(lines(out, "measurement"))
    with Run(folder, "sweep", "--resume", str(out), **env) as run:
        ended = run.ended(ENDED_S)
    assert ended.status == 0, ended.stderr
    assert len(lines(out, "measurement")) > kept
    assert {cell["algo"] for cell in ended.document["cells"]} == {"default", "Ring"}
    return ended


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_rank_that_is_killed_or_stopped_is_named_and_the_sweep_goes_on(
    tmp_path: pathlib.Path, how: signal.Signals
) -> None:
    with Run(tmp_path, *SWEEP) as run:
        run.wait_for_samples()
        os.kill(measuring(run)[1], how)
        ended = run.ended(ENDED_S)
    assert ended.status == 0, ended.stderr
    told = r": ended by signal SIGKILL| stopped" if how is signal.SIGKILL else " stopped"
    assert re.search(rf"rank 1 on {re.escape(HOST)}({told})", ended.finding("ranks-lost"))
    assert "ranks died or were stopped once: " in ended.finding("ranks-lost")
    assert {line["launch"] for line in lines(run.out, "measurement")} > {0}
    assert all(cell["status"] in ("ok", "eliminated") for cell in ended.document["cells"])


def test_a_killed_rank_and_then_ctrl_c_keep_what_was_measured(tmp_path: pathlib.Path) -> None:
    with Run(tmp_path, *SWEEP) as run:
        run.wait_for_samples()
        os.kill(measuring(run)[0], signal.SIGKILL)
        run.wait_for_samples(launches=2)
        run.interrupted(60)
    assert len(lines(run.out, "measurement")) > fault_runs.SAMPLES
    resumed(tmp_path, run.out)


def test_ctrl_c_while_ranks_start_leaves_none(tmp_path: pathlib.Path) -> None:
    with Run(tmp_path, *SWEEP) as run:
        run.wait_for(lambda: len(run.ranks()) == 2)
        run.interrupted(60)
    assert lines(run.out, "measurement") == []
    resumed(tmp_path, run.out)


@pytest.fixture
def crowded() -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the memory of rank 1's GPU."""
    words = [sys.executable, "-c", HOLDER, str(1 % gpu_count()), str(LEFT_BYTES)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_a_gpu_whose_memory_another_process_holds_is_named(
    tmp_path: pathlib.Path, crowded: subprocess.Popen[str]
) -> None:
    with Run(tmp_path, *SWEEP, "--sizes", f"64K,{WANTED}", "--proto", "Simple", "--timeout", "60") as run:
        ended = run.ended(ENDED_S)
    assert ended.status == 1
    rank = "1" if gpu_count() > 1 else "[01]"
    wanted = rf"rank {rank} on {re.escape(HOST)}: LaunchError: the GPU has no \d+ bytes for buffers: "
    assert re.search(wanted, ended.stderr), ended.stderr
    assert "sweep smaller sizes" in ended.stderr
    crowded.communicate("")  # it ends, and its memory is there again
    resumed(tmp_path, run.out)


def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path: pathlib.Path) -> None:
    if (build.HERE / build.LIBRARY).is_file():
        pytest.skip("the plugin was installed with the package, so that the cache is not looked at")
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    plugin = build.plugin_path(os.environ | own)
    plugin.unlink()
    plugin.write_bytes(b"\x7fELF, cut off")
    plugin.chmod(0o500)
    with Run(tmp_path, *SWEEP, **own) as run:
        ended = run.ended(ENDED_S)
    assert ended.status == 1
    wanted = rf"rank [01] on {re.escape(HOST)}: BackendError: cannot load the tuner plugin {re.escape(str(plugin))}: "
    assert re.search(wanted, ended.stderr), ended.stderr
    plugin.unlink()  # it is compiled again
    resumed(tmp_path, run.out, **own)
