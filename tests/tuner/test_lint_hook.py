"""The pre-commit hooks name a command and options that exist, and the files that lint reads."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import page_commands
import pytest

ROOT = pathlib.Path(__file__).parents[2]
HOOKS = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")


def test_their_entry_is_a_command_of_ours():
    entries = re.findall(r"entry: (.*)", HOOKS)
    assert entries == ["ncclprobe env lint"] * 2
    for entry in entries:
        page_commands.check_ours([*shlex.split(entry)[1:], "--strict", "--nccl-version=2.27.3", "job.sh"])


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("jobs/train.sh", True),
        ("train.sbatch", True),
        ("a.pbs", True),
        ("etc/nccl.conf", True),
        ("train.py", False),
        ("x.conf", False),
    ],
)
def test_the_files_that_it_takes(name, taken):
    pattern = re.findall(r"files: (.*)", HOOKS)[0]
    assert bool(re.search(pattern, name)) is taken


# ---- the GitHub action, its last step as it stands on the page; scripts/lint_gates.py runs hooks and action with pip


def step() -> str:
    page = (ROOT / "docs" / "env-lint.md").read_text(encoding="utf-8")
    return re.findall(r"^ +- run: (.*ncclprobe env lint.*)$", page, re.MULTILINE)[-1]


@pytest.mark.parametrize(
    ("jobs", "status"),
    [
        ({"train.sh": "clean/mpirun_ssh.sh", "a folder/serve.sbatch": "clean/slurm_sglang.sh"}, 0),
        ({"train.sh": "clean/mpirun_ssh.sh", "a folder/tuned.pbs": "reports/tree_ll128.pbs"}, 123),
        ({"etc/nccl.conf": "reports/nccl.conf"}, 123),
        ({"notes.txt": "reports/nccl.conf"}, 0),
    ],
)
def test_the_actions_step_passes_clean_jobs_alone(jobs: dict[str, str], status: int, tmp_path: pathlib.Path) -> None:
    for name, sample in jobs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / "tests" / "data" / "lint" / sample).read_bytes())
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    script = tmp_path / ".git" / "step.sh"
    script.write_text(step(), encoding="utf-8")
    program = tmp_path / ".git" / "bin" / "ncclprobe"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m ncclprobe "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(["bash", "-e", str(script)], cwd=tmp_path, env=env, capture_output=True, check=False)
    assert ended.returncode == status, ended.stderr  # xargs: 123 where a command ended with 1 to 125
