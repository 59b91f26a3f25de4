"""validate-e2e as a job of a real Slurm: submitted once, watched, collected, and found again after a kill."""

from __future__ import annotations

import json
import pathlib
import re
import time
from typing import Any

import jsonschema
import pytest
from testbed import Cluster

from ncclprobe.cli.schema import document_schema

pytestmark = [pytest.mark.cluster, pytest.mark.mpi, pytest.mark.slurm]

ALGORITHM = "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"
SMALL = ("--layers", "1", "--hidden", "64", "--batch", "8", "--steps", "2", "--nranks", "4", "--nnodes", "4")
JOB = ("--launcher", "slurm", "--submit", "--walltime", "5", "--warmup", "0", "--trials", "1", "--json")
CANARY = 'it\'s $(touch /tmp/canary); "two words"'


def _submit(out: pathlib.Path, *more: str) -> list[str]:
    return ["ncclprobe", "validate-e2e", *JOB, "--out", str(out), *more]


def _simple(out: pathlib.Path, *command: str) -> list[str]:
    return _submit(out, "--workload", "command", "--metric", "(?P<x>[0-9])", "--candidate", "X=1", "--", *command)


def _is_right(stdout: str) -> dict[str, Any]:
    """Return a document in which the ranks of all trials were on four hosts, each with its arm's algorithm."""
    document: dict[str, Any] = json.loads(stdout)
    jsonschema.validate(document, document_schema("validate-e2e"))
    assert sorted((trial["arm"], trial["status"]) for trial in document["trials"]) == [
        ("baseline", "ok"), ("candidate", "ok"),
    ]  # fmt: skip
    for trial in document["trials"]:
        assert trial["effective"]["hosts"] == ["node1", "node2", "node3", "node4"]
        (row,) = trial["effective"]["allreduce"]
        assert row["ranks"] == [0, 1, 2, 3]
        assert row["variables"][ALGORITHM] == {"baseline": "auto", "candidate": "ring"}[trial["arm"]]
    return document


def _jobs(cluster: Cluster, out: pathlib.Path) -> list[str]:
    """Return the states of all jobs that were ever submitted for a run directory."""
    name = json.loads((out / "job.json").read_text())["name"]
    return cluster.must("node1", "squeue", "--noheader", "--states=all", f"--name={name}", "--format=%T").split()


def _wait_for(path: pathlib.Path, text: str = "") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and re.search(text, path.read_text()):
            return
        time.sleep(0.05)
    pytest.fail(f"no {text!r} in {path} within 30 s")


def test_a_job_is_submitted_watched_and_collected(slurm_cluster: Cluster) -> None:
    out, site = slurm_cluster.folder / "job run", slurm_cluster.folder / "site.toml"
    site.write_text(f"setup = [{json.dumps('NCCL_CANARY=' + CANARY)}]\ndirectives = ['--exclusive']\n")
    ended = slurm_cluster.run("node1", _submit(out, *SMALL, "--site", str(site), "--candidate", f"{ALGORITHM}=ring"))
    assert ended.status == 0, ended.stderr
    _is_right(ended.stdout)
    (job,) = re.findall(rf"Slurm job (\d+) \(nccl-[0-9a-f]+\), run directory {re.escape(str(out))}", ended.stderr)
    assert f"job {job}: COMPLETED" in ended.stderr
    assert (out / "job.id").read_text() == f"{job}\n"
    assert (out / "job.status").read_text() == "0\n"
    assert _jobs(slurm_cluster, out) == ["COMPLETED"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["environment"]["NCCL_CANARY"] == CANARY
    assert not pathlib.Path("/tmp/canary").exists()


def test_a_killed_watch_is_taken_up_and_nothing_is_submitted_again(slurm_cluster: Cluster) -> None:
    out = slurm_cluster.folder / "taken-up"
    process = slurm_cluster.start("node1", _simple(out, "sh", "-c", "sleep 1; echo x: 5"))
    _wait_for(out / "job.json", r'"job":"\d')
    slurm_cluster.must("node1", "pkill", "-KILL", "-f", f"ncclprobe validate-e2e .*--json --out {out}")
    process.communicate(timeout=30)
    ended = slurm_cluster.run("node1", ["ncclprobe", "validate-e2e", "--json", "--resume", str(out)])
    assert ended.status == 0, ended.stderr
    assert [trial["metrics"] for trial in json.loads(ended.stdout)["trials"]] == [{"x": 5.0}, {"x": 5.0}]
    assert _jobs(slurm_cluster, out) == ["COMPLETED"]


def test_a_cancelled_job_is_named_with_its_state_and_output(slurm_cluster: Cluster) -> None:
    out = slurm_cluster.folder / "cancelled"
    process = slurm_cluster.start("node1", _simple(out, "sleep", "600"))
    _wait_for(out / "journal.jsonl", "started")
    job = (out / "job.id").read_text().strip()
    slurm_cluster.must("node1", "scancel", job)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert re.search(rf"Error: Slurm job {job} \(nccl-\w+\) left no result: CANCELLED", stderr), stderr
    assert f"its output is in {out}/job.out" in stderr
    assert "CANCELLED AT" in stderr
