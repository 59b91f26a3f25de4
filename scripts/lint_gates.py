#!/usr/bin/env python3
"""Run docs/env-lint.md's pre-commit hooks and GitHub action as they stand there, on clean and on bad job scripts.

    scripts/lint_gates.py            exit status 0 where clean jobs pass both gates and bad ones pass none

Of what the page shows, only the address of this repository is replaced, by a clone of the last commit with the tag that
the page names. pre-commit makes the hooks' environment itself; the action's `run` steps run in a fresh checkout, one
bash each as on GitHub, with a new virtual environment in place of its setup-python. Both install from PyPI.
Needs the `dev` extra (pre-commit, PyYAML).
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import venv
from typing import Any

import yaml  # type: ignore[import-untyped,unused-ignore]

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "env-lint.md"
ADDRESS = "https://example.org/ncclprobe"
SAMPLES = ROOT / "tests" / "data" / "lint"
CLEAN = {"train.sh": "clean/mpirun_ssh.sh", "serve.sbatch": "clean/slurm_sglang.sh", "etc/nccl.conf": "clean/nccl.conf",
         "manifests/job.yaml": "clean/mpijob.yaml"}  # fmt: skip
BAD = {
    "a bad job script": {**CLEAN, "tuned.pbs": "reports/tree_ll128.pbs"},
    "a bad nccl.conf": {**CLEAN, "etc/nccl.conf": "reports/nccl.conf"},
    "a bad manifest": {**CLEAN, "manifests/job.yaml": "reports/containers.yaml"},
}
SHELL = ("bash", "-e")
"""Of a step that names none. Source: GitHub Actions, workflow syntax, jobs.<job_id>.steps[*].shell."""


def blocks() -> list[Any]:
    """Return the page's YAML blocks."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]


def ended(command: list[str], folder: pathlib.Path, env: dict[str, str]) -> tuple[int, str, float]:
    """Return a command's status, what it said and how long it took."""
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


def git(folder: pathlib.Path, *words: str) -> None:
    who = ("-c", "user.name=gate", "-c", "user.email=gate@example.org")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def jobs(folder: pathlib.Path, files: dict[str, str]) -> pathlib.Path:
    """Return a new repository of job scripts."""
    folder.mkdir(parents=True)
    for name, sample in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((SAMPLES / sample).read_bytes())
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "jobs")
    return folder


def hooks(config: dict[str, Any], clone: pathlib.Path, repository: pathlib.Path, cache: pathlib.Path) -> int:
    """Return how the page's pre-commit configuration ends in a repository."""
    (entry,) = config["repos"]
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{**entry, "repo": str(clone)}]}))
    git(repository, "add", ".pre-commit-config.yaml")
    env = {**os.environ, "PRE_COMMIT_HOME": str(cache)}
    status, said, seconds = ended([sys.executable, "-m", "pre_commit", "run", "--all-files"], repository, env)
    print(f"  pre-commit run --all-files: status {status} ({seconds:.1f} s)")
    for line in said.splitlines():
        if re.search(r"Passed|Failed|Skipped|rror", line):
            print(f"    {line}")
    return status


def action(steps: list[dict[str, str]], clone: pathlib.Path, repository: pathlib.Path, python: pathlib.Path) -> int:
    """Return the status of the first step that fails, 0 where none does."""
    env = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "CI": "true"}
    env = {name: value for name, value in env.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    for number, step in enumerate(step for step in steps if "run" in step):
        script = repository.parent / f"{repository.name}-step-{number}.sh"
        script.write_text(step["run"].replace(ADDRESS, f"file://localhost{clone}"))
        status, said, seconds = ended([*SHELL, str(script)], repository, env)
        print(f"  step {step['run'][:60]!r}…: status {status} ({seconds:.1f} s)")
        if status:
            print("".join(f"    {line}\n" for line in said.splitlines()[-3:]), end="")
            return status
    return 0


def main() -> int:
    config, workflow = blocks()
    (job,) = workflow["jobs"].values()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="lint-gates-") as name:
        folder = pathlib.Path(name)
        clone, cache = folder / "ncclprobe", folder / "cache"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        git(clone, "tag", "--force", config["repos"][0]["rev"])
        for what, files in {"clean jobs": CLEAN, **BAD}.items():
            print(what)
            wrong += (hooks(config, clone, jobs(folder / "hooks" / what, files), cache) == 0) is not (what not in BAD)
        for what, files in {"clean jobs": CLEAN, **BAD}.items():
            if what == "a bad manifest":
                continue  # the page's action looks at scripts and nccl.conf alone
            print(what)
            venv.create(folder / "python" / what, with_pip=True)
            there = jobs(folder / "action" / what, files)
            status = action(job["steps"], clone, there, folder / "python" / what / "bin" / "python")
            wrong += (status == 0) is not (what not in BAD)
    print("as documented" if not wrong else f"{wrong} gates ended otherwise than documented")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
