"""Jobs: what schedulers' answers mean, and that a job is submitted once, watched, and found again."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from test_job_scripts import directives

from ncclprobe.cli import group
from ncclprobe.errors import LaunchError, MissingDependencyError, ProbeError, UsageError
from ncclprobe.launchers import jobs
from ncclprobe.launchers.schedulers import SCHEDULERS, Answer, JobState, Stage

SLURM, PBS = SCHEDULERS["slurm"], SCHEDULERS["pbs"]


def answer(printed: str = "", said: str = "", status: int = 0) -> Answer:
    return Answer(status=status, printed=printed, said=said)


def state(stage: str, word: str, reason: str = "") -> JobState:
    return JobState(stage=Stage(stage), word=word, reason=reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PENDING|Resources\n", state("pending", "PENDING", "Resources")),
        ("RUNNING|None\n", state("running", "RUNNING")),
        ("CONFIGURING|None\n", state("running", "CONFIGURING")),
        ("COMPLETING|None\n", state("running", "COMPLETING")),
        ("COMPLETED|None\n", state("ended", "COMPLETED")),
        ("CLUSTER: a\nFAILED|NonZeroExitCode\n", state("ended", "FAILED", "NonZeroExitCode")),
        ("CANCELLED by 0|None\n", state("ended", "CANCELLED")),
        ("CANCELLED+|\n", state("ended", "CANCELLED")),
        ("TIMEOUT|TimeLimit\n", state("ended", "TIMEOUT", "TimeLimit")),
        ("REQUEUE_HOLD|x\n", state("pending", "REQUEUE_HOLD", "x")),
        ("", None),
    ],
)
def test_slurm_s_answers(text: str, expected: JobState | None) -> None:
    assert SLURM.state(answer(text)) == expected


HELD = """Job Id: 12.server
    Job_Name = nccl-1
    job_state = Q
    comment = Not Running: Insufficient amount of resource: ngpus (R: 8 A
\t: 0 T: 16)
    ctime = Sun Nov 22 09:00:00 2026
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HELD, state("pending", "Q", "Not Running: Insufficient amount of resource: ngpus (R: 8 A: 0 T: 16)")),
        ("Job Id: 1.s\n    job_state = R\n", state("running", "R")),
        ("Job Id: 1.s\n    job_state = H\n", state("pending", "H")),
        ("Job Id: 1.s\n    job_state = F\n    Exit_status = 271\n", state("ended", "F", "exit status 271")),
        ("Job Id: 1.s\n    job_state = C\n    exit_status = -1\n", state("ended", "C", "exit status -1")),
        ("<Data><Job><job_state>C</job_state></Job></Data>", None),
        ("", None),
    ],
)
def test_pbs_s_answers(text: str, expected: JobState | None) -> None:
    assert PBS.state(answer(text)) == expected


@pytest.mark.parametrize(
    ("scheduler", "said", "silent"),
    [
        (SLURM, "slurm_load_jobs error: Invalid job id specified", False),
        (SLURM, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", True),
        (PBS, "qstat: Unknown Job Id 12.server", False),
        (PBS, "qstat: 12.server Job has finished, use -x or -H to obtain historical job information", False),
        (PBS, "Connection refused\nqstat: cannot connect to server server (errno=15010)", True),
    ],
)
def test_a_scheduler_that_does_not_know_a_job_is_told_from_one_out_of_reach(scheduler, said, silent) -> None:
    assert scheduler.is_silent(answer(said=said, status=1)) is silent
    assert scheduler.state(answer(said=said, status=1)) is None


@pytest.mark.parametrize(
    ("scheduler", "text", "job"),
    [
        (SLURM, "12\n", "12"),
        (SLURM, "a site's banner\n12;alpha\n", "12;alpha"),
        (SLURM, "sbatch: nothing\n", None),
        (PBS, "12.server.example\n", "12.server.example"),
        (PBS, "\n", None),
    ],
)
def test_ids_of_jobs(scheduler: Any, text: str, job: str | None) -> None:
    assert scheduler.job_id(text) == job


def test_questions_of_a_job_on_another_cluster() -> None:
    asked = SLURM.questions("12;alpha")
    assert all("--clusters=alpha" in words and "--jobs=12" in words for words in asked)
    with pytest.raises(UsageError):
        SLURM.questions("12 --all")


# ---- programs in the schedulers' place


@pytest.fixture
def bin_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return a folder whose programs come first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(jobs, "SOONEST_S", 0.01)
    monkeypatch.setattr(jobs, "SETTLE_S", 0.1)
    return folder


def program(folder: pathlib.Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!{sys.executable}\nimport os, pathlib, subprocess, sys\n{text}\n")
    (folder / name).chmod(0o755)


QSUB = """
script = pathlib.Path(sys.argv[-1])
assert sys.argv[1:-1] == ["-j", "oe", "-o", str(script.parent / "scheduler.out")]
with open("submissions", "a") as file:
    file.write("one\\n")
env = {**os.environ, "PBS_O_WORKDIR": os.getcwd(), "PBS_JOBID": "7.server"}
subprocess.run(["bash", script], env=env)
print("7.server")
"""
QSTAT = """
if "-x" not in sys.argv:
    sys.exit("qstat: 7.server Job has finished, use -x or -H to obtain historical job information")
print("Job Id: 7.server\\n    job_state = F\\n    Exit_status = 0")
"""
VALIDATE = ["validate-e2e", "--workload", "command", "--metric", "x: ([0-9.]+)", "--trials", "1", "--warmup", "0"]
CANARY = "it's $(touch canary); `id`\n#PBS -q x"


def invoke(*arguments: str) -> tuple[Any, str, str]:
    result = CliRunner().invoke(group, [*arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.return_value, result.stdout, result.stderr


def submit(out: pathlib.Path, *command: str) -> tuple[Any, str, str]:
    job = ("--launcher", "pbs", "--submit", "--json", "--out", str(out), "--telemetry", "0")
    return invoke(*VALIDATE, *job, "--candidate", f"NCCL_NOTE={CANARY}", "--", *command)


def test_a_pbs_job_is_submitted_once_and_collected(bin_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program(bin_folder, "qsub", QSUB)
    program(bin_folder, "qstat", QSTAT)
    out = tmp_path / "a run"
    show = "import os; print('x: 5', repr(os.environ.get('NCCL_NOTE')))"
    status, stdout, stderr = submit(out, sys.executable, "-c", show)
    document = json.loads(stdout)
    assert (status, [trial["status"] for trial in document["trials"]]) == (0, ["ok", "ok"])
    assert document["candidate"] == {"NCCL_NOTE": CANARY}
    assert "PBS job 7.server (nccl-" in stderr
    shown = {path.name.partition("-")[2]: path.read_text() for path in (out / "trials").glob("*.txt")}
    assert shown["candidate.txt"] == f"x: 5 {CANARY!r}\n"
    assert not list(tmp_path.rglob("canary"))
    assert invoke("validate-e2e", "--resume", str(out), "--json")[1] == stdout
    with pytest.raises(UsageError, match="has a job"):
        submit(out, "true")
    assert (tmp_path / "submissions").read_text() == "one\n"


def test_a_job_that_fails_is_named_with_its_state_and_output(bin_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program(bin_folder, "qsub", QSUB.replace('["bash", script]', '["false"]'))
    program(bin_folder, "qstat", QSTAT.replace("Exit_status = 0", "Exit_status = 271"))
    out = tmp_path / "run"
    with pytest.raises(LaunchError) as problem:
        submit(out, "true")
    assert "PBS job 7.server (nccl-" in str(problem.value)
    assert "left no result: F (exit status 271); it printed nothing" in str(problem.value)
    (out / "scheduler.out").write_text("=>> PBS: job killed: walltime 61 exceeded limit 60\n")
    with pytest.raises(LaunchError, match=r"its output is in .*scheduler\.out; its last lines:\n  =>> PBS: job killed"):
        invoke("validate-e2e", "--resume", str(out))
    assert (tmp_path / "submissions").read_text() == "one\n"


def test_a_refused_job_leaves_the_directory_free(bin_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program(bin_folder, "qsub", "sys.exit('qsub: Unknown queue')")
    program(bin_folder, "qselect", "")
    with pytest.raises(LaunchError, match=r"PBS refused .*job\.sh: qsub: Unknown queue"):
        submit(tmp_path / "run", "true")
    assert not (tmp_path / "run" / "job.json").exists()


def test_a_submission_without_an_answer_is_looked_for_and_never_repeated(bin_folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program(bin_folder, "qsub", "open('submissions', 'a').write('one\\n'); sys.exit('qsub: connection timed out')")
    program(bin_folder, "qselect", "")
    program(bin_folder, "qstat", "print('Job Id: 9.server\\n    job_state = R')")
    out = tmp_path / "run"
    with pytest.raises(LaunchError, match="did not say whether it took the job"):
        submit(out, "true")
    with pytest.raises(LaunchError, match="nothing was submitted again"):
        invoke("validate-e2e", "--resume", str(out))
    program(bin_folder, "qselect", "print('9.server') if '-x' in sys.argv else 0")
    with pytest.raises(LaunchError, match=r"job 9\.server is still R after 0 s, and goes on"):
        invoke("validate-e2e", "--resume", str(out), "--wait", "0")
    assert json.loads((out / "job.json").read_text())["job"] == "9.server"
    assert (tmp_path / "submissions").read_text() == "one\n"


def test_a_scheduler_out_of_reach_is_waited_for(bin_folder, tmp_path, monkeypatch) -> None:
    program(bin_folder, "qstat", "sys.exit('cannot connect to server')")
    monkeypatch.setattr(jobs, "SILENCE_S", 0.2)
    job = jobs.Submission(scheduler="pbs", name="n", job="7.server")
    with pytest.raises(LaunchError, match=r"PBS has not answered for 0\.2 s; job 7\.server goes on"):
        jobs.watch(job, 60.0, print)


def test_without_a_scheduler_nothing_is_left_behind(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="qsub"):
        submit(tmp_path / "run", "true")
    assert not (tmp_path / "run" / "job.json").exists()


@pytest.mark.parametrize("name", ["a%j", "a\\b", "a:b", "a\nb"])
def test_a_directory_that_a_scheduler_would_misread_is_refused(name: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="would misread"):
        jobs.submit(tmp_path / name, "slurm", "n", "")
    assert not (tmp_path / name).exists()


# ---- what is written


R1 = [
    "validate-e2e", "--workload", "sglang", "--model", "deepseek-ai/DeepSeek-R1", "--tp", "16", "--nnodes", "2",
    "--candidate", "NCCL_PROTO=LL", "--walltime", "12:00:00", "--out", "runs/r1",
]  # fmt: skip
SHAREGPT = ["--load-format", "dummy", "--dataset-path", "share gpt.json", "--num-prompts", "2000"]


@pytest.mark.parametrize(
    ("launcher", "inside", "expected"),
    [
        ("pbs", "pbs", ["-N ncclprobe", "-l select=2:ngpus=8:mpiprocs=8", "-l walltime=12:00:00"]),
        (
            "slurm",
            "srun",
            ["--job-name=ncclprobe", "--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--time=12:00:00"],
        ),
    ],
)
def test_the_script_of_deepseek_r1_on_two_nodes(launcher: str, inside: str, expected: list[str]) -> None:
    _, script, _ = invoke(
        *R1, "--launcher", launcher, "--emit", "-", "--variants", "tp=8,pp=2,nnodes=2", "--", *SHAREGPT
    )
    assert directives(script, {"pbs": "#PBS", "slurm": "#SBATCH"}[launcher]) == expected
    assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=True).stderr == ""
    line = next(line for line in script.splitlines() if "--workload" in line)
    assert shlex.split(line) == [
        sys.executable, "-m", "ncclprobe", "validate-e2e", "--workload=sglang", "--candidate=NCCL_PROTO=LL",
        "--model=deepseek-ai/DeepSeek-R1", "--tp=16", "--nnodes=2", "--variants=tp=8,pp=2,nnodes=2",
        f"--launcher={inside}", "--out=runs/r1", "--", *SHAREGPT,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--launcher", "slurm"], "add --emit FILE or --submit"),
        (["--emit", "-"], "need --launcher slurm or pbs"),
        (["--launcher", "srun", "--submit"], "need --launcher slurm or pbs"),
        (["--queue", "gpu"], "--queue is for job scripts"),
        (["--launcher", "pbs", "--emit", "-", "--hosts", "a"], "the scheduler chooses"),
        (["--launcher", "pbs", "--emit", "-", "--json"], "no document"),
        (["--launcher", "pbs", "--emit", "-", "--walltime", "soon"], "HH:MM:SS"),
        (["--launcher", "pbs", "--emit", "-", "--walltime", "0"], "is no time"),
        (["--here"], "--here goes with --resume"),
    ],
)
def test_options_of_jobs_that_contradict_each_other(arguments: list[str], said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        invoke("validate-e2e", "--candidate", "A=1", *arguments)
