"""Drivers and tools that hang, crash or leave someone behind; a launcher and a compiler that never answer."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from fault_runs import Run

from ncclprobe import processes
from ncclprobe.errors import BackendError, HostsGoneError, LaunchError, MissingDependencyError
from ncclprobe.launchers.base import Job
from ncclprobe.launchers.mpirun import Flavour, MpirunLauncher
from ncclprobe.launchers.reach import check_hosts
from ncclprobe.launchers.run import run_ranks
from ncclprobe.launchers.srun import SrunLauncher
from ncclprobe.scan.gpus import read_gpus
from ncclprobe.tuner import build
from ncclprobe.tuner.live import LiveTuner

COMPILER = shutil.which("cc")
NVML = """
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  if (!strcmp(getenv("NVML_FAULT"), "hang")) sleep(600);
  abort();
}
"""
HANGS = "#!/bin/sh\nexec sleep 600\n"


def _program(path: pathlib.Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def nvml(tmp_path: pathlib.Path) -> str:
    """Return the folder of an NVML that hangs or aborts."""
    if COMPILER is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "nvml.c").write_text(NVML)
    output = str(tmp_path / "libnvidia-ml.so.1")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", output, str(tmp_path / "nvml.c")], check=True)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("fault", "told"), [("hang", "NVML gave no answer within 1 s"), ("crash", "NVML crashed with signal 6")]
)
def test_an_nvml_that_hangs_or_crashes_is_told_and_the_scan_goes_on(
    nvml: str, tmp_path: pathlib.Path, fault: str, told: str
) -> None:
    with Run(tmp_path, "scan", "--timeout", "1", LD_LIBRARY_PATH=nvml, NVML_FAULT=fault) as run:
        ended = run.ended()
    assert ended.finding("nvml-unavailable") == f"{told}, so nothing is known of the GPUs"
    assert ended.document["hosts"][0]["host"] == os.uname().nodename


def test_no_driver_is_asked_in_a_process_of_its_own_where_there_is_none() -> None:
    assert read_gpus("here").driver is None or pathlib.Path("/dev/nvidiactl").exists()


def test_a_tool_that_crashes_is_told(tmp_path: pathlib.Path) -> None:
    tool = _program(tmp_path / "ibv_devinfo", "#!/bin/sh\nkill -SEGV $$\n")
    with Run(tmp_path, "scan", PATH=f"{pathlib.Path(tool).parent}{os.pathsep}{os.environ['PATH']}") as run:
        ended = run.ended()
    assert ended.finding("ibv-devinfo-failed") == "ibv_devinfo -v: exit status -11; sysfs was read instead"


def test_whoever_a_tool_leaves_behind_with_its_output_is_not_waited_for(tmp_path: pathlib.Path) -> None:
    """As ssh does with ControlPersist: a process in a session of its own keeps the pipes open."""
    pid = tmp_path / "pid"
    tool = _program(tmp_path / "tool", f"#!/bin/sh\necho said\nsetsid sleep 600 &\necho $! > {pid}\n")
    began = time.monotonic()
    ended = processes.run([tool], timeout_s=1)
    subprocess.run(["pkill", "-g", pid.read_text().strip()], check=False)
    assert (ended.returncode, ended.stdout, ended.timed_out) == (0, "said\n", False)
    assert time.monotonic() - began < 60


def _started_by(pid: int, ssh: str) -> bool:
    """Return whether a process runs, wherever it went, that an mpiexec with that ssh started."""
    return processes.started_at(pid) >= 0 and processes.environment_of(pid).get("HYDRA_LAUNCHER_EXEC") == ssh


def test_an_ssh_that_hangs_is_ended_and_its_hosts_are_named(tmp_path: pathlib.Path) -> None:
    """The real mpiexec, whose ssh never answers."""
    mpiexec = pathlib.Path(sys.executable).with_name("mpiexec")
    if not mpiexec.exists():
        pytest.skip("needs MPICH from pip")
    launcher = MpirunLauncher(str(mpiexec), Flavour.HYDRA)
    job = Job(program=("true",), nranks=2, hosts=("dgx001", "dgx002"))
    ssh = _program(tmp_path / "ssh", HANGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_LAUNCHER_EXEC", ssh)
        with pytest.raises(
            HostsGoneError, match=r"^dgx\[001-002\] do not answer \(mpirun started nothing there within 1 s\)"
        ):
            check_hosts(job, launcher, 1.0)
    numbers = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]
    assert [pid for pid in numbers if _started_by(pid, ssh)] == []


def test_an_srun_that_hangs_is_ended_and_its_hosts_are_named(tmp_path: pathlib.Path) -> None:
    launcher = SrunLauncher(_program(tmp_path / "srun", HANGS), None)
    job = Job(program=("true",), nranks=2, hosts=("dgx001", "dgx002"))
    with pytest.raises(HostsGoneError, match=r"^dgx\[001-002\] do not answer"):
        check_hosts(job, launcher, 0.5)
    assert processes.descendants(os.getpid()) == {}


def test_what_a_killed_command_leaves_to_others_is_ended_once() -> None:
    calls: list[str] = []
    processes.run(["true"], timeout_s=5, on_kill=lambda: calls.append("ended by itself"))
    processes.run(["sleep", "60"], timeout_s=0.1, on_kill=lambda: calls.append("took too long"))
    deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    process = processes.start(deaf, stdout=2, on_kill=lambda: calls.append("heard nothing"), stderr=2)
    processes.end_tree(process, 0.5)
    processes.end_tree(process, 0.5)
    assert calls == ["took too long", "heard nothing"]


def test_an_srun_that_queues_is_no_host_that_is_gone(tmp_path: pathlib.Path) -> None:
    words = "echo 'srun: job 7 queued and waiting for resources' >&2\n"
    launcher = SrunLauncher(_program(tmp_path / "srun", HANGS.replace("exec", words + "exec")), None)
    check_hosts(Job(program=("true",), nranks=1, hosts=("dgx001",)), launcher, 0.5)


def test_a_launcher_that_dies_leaves_no_rank(tmp_path: pathlib.Path) -> None:
    """Its ranks are in sessions of their own and have no parent any more."""
    pid = tmp_path / "pid"
    text = f"#!/bin/sh\nsetsid sleep 600 </dev/null >/dev/null 2>&1 &\necho $! > {pid}\nkill -KILL $$\n"
    launcher = SrunLauncher(_program(tmp_path / "srun", text), None)
    with pytest.raises(LaunchError, match="1 rank started by srun ended early: the launcher ended with signal SIGKILL"):
        list(run_ranks(Job(program=("true",), nranks=1), launcher, timeout_s=5))
    assert processes.started_at(int(pid.read_text())) == -1


@pytest.mark.parametrize("command", [("sweep", "--backend", "mpi"), ("nodes", "--timeout", "1")])
@pytest.mark.slow  # ranks are given two minutes to start, and the tests above show what follows
def test_an_srun_that_never_starts_anything_ends_with_its_name(
    tmp_path: pathlib.Path, command: tuple[str, ...]
) -> None:
    _program(tmp_path / "srun", HANGS)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with Run(tmp_path, *command, "--launcher", "srun", "--hosts", "dgx[001-002]", PATH=path) as run:
        ended = run.ended(200)
    assert ended.status in (1, 3)
    assert "dgx001" in ended.stderr or "dgx[001-002]" in ended.stderr


def test_a_plugin_that_cannot_be_loaded_is_told(tmp_path: pathlib.Path) -> None:
    broken = tmp_path / "tuner.so"
    broken.write_bytes(b"\x7fELF, cut off")
    with pytest.raises(BackendError, match=rf"cannot load the tuner plugin {broken}: .*file too short"):
        LiveTuner(broken)


def test_a_compiler_that_hangs_is_told(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BUILD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(build, "LIBRARY", "not-shipped.so")
    compiler = _program(tmp_path / "cc", HANGS)
    with pytest.raises(MissingDependencyError, match=r"cannot compile the tuner plugin: no end within 0\.5 s"):
        build.plugin_path({"CC": compiler, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert [path.name for path in (tmp_path / "cache/ncclprobe").iterdir()] == []
