"""Job scripts: what schedulers read in them, and that bash runs exactly the words that were given."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import ParseError, UsageError
from ncclprobe.launchers.quoting import directive, directive_value, export_line, quoted, shell_line
from ncclprobe.launchers.scripts import Batch, pbs_script, slurm_script
from ncclprobe.launchers.site import Site, parse_site

BATCH = Batch(
    directory="runs/one",
    command=("validate-e2e", "--out=runs/one"),
    go_on=("validate-e2e", "--resume=runs/one", "--here"),
    nodes=2,
    ranks_per_node=8,
    gpus_per_node=8,
    minutes=90,
)
NASTY = [
    "two words", " ends ", "", "it's", '"', "$HOME", "$(touch canary)", "`touch canary`", "; touch canary", "a\nb",
    "a\n#SBATCH --nodes=99\n#PBS -l select=99:ncpus=1", "\t\x01\x7f", "\\", "\\n", "'\n'", "-n", "--", "*", "~",
    "{a,b}", "!x", "<x", ">canary", "&", "|", "if", "A=b", "#", "$'x'", "é ü 漢", "\u2028", "%s", "x" * 5000,
]  # fmt: skip
SHOW = """
import json, os, sys
print(json.dumps([sys.argv[1:], {name: value for name, value in os.environ.items() if name[:6] == "CANARY"}]))
"""


def directives(script: str, prefix: str) -> list[str]:
    """Return what a scheduler reads: the directives above the first line that is neither blank nor a comment."""
    found = []
    for line in script.splitlines():
        if line.startswith(f"{prefix} "):
            found.append(line.removeprefix(f"{prefix} "))
        elif line.strip() and not line.startswith("#"):
            break
    return found


def bash(line: str, folder: pathlib.Path, **env: str) -> str:
    ended = subprocess.run(
        ["bash", "-c", line], cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
    return ended.stdout


def test_slurm_reads_what_was_asked_for() -> None:
    batch = BATCH.with_(
        queue="gpu", account="p1", cpus_per_node=64, site=Site(directives=("--exclusive", "-C h100&ib"))
    )
    assert directives(slurm_script(batch), "#SBATCH") == [
        "--exclusive", "-C h100&ib", "--job-name=ncclprobe", "--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8",
        "--cpus-per-task=8", "--time=01:30:00", "--partition=gpu", "--account=p1",
    ]  # fmt: skip


def test_pbs_reads_what_was_asked_for() -> None:
    batch = BATCH.with_(queue="gpu", account="p1", site=Site(directives=("-l place=scatter:excl",)))
    assert directives(pbs_script(batch), "#PBS") == [
        "-l place=scatter:excl", "-N ncclprobe", "-l select=2:ngpus=8:mpiprocs=8", "-l walltime=01:30:00", "-q gpu",
        "-A p1",
    ]  # fmt: skip
    plain = BATCH.with_(gpus_per_node=0, cpus_per_node=32)
    assert "-l select=2:ncpus=32:mpiprocs=8" in directives(pbs_script(plain), "#PBS")


def test_bash_reads_each_word_back(tmp_path: pathlib.Path) -> None:
    line = shell_line((sys.executable, "-c", SHOW, *NASTY))
    exports = [export_line(f"CANARY_{number}", word) for number, word in enumerate(NASTY)]
    words, variables = json.loads(bash("; ".join([*exports, line]), tmp_path))
    assert words == NASTY
    assert variables == {f"CANARY_{number}": word for number, word in enumerate(NASTY)}
    assert not [text for text in (line, *exports) if "\n" in text]
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=8))
def test_bash_reads_any_words_back(words: list[str]) -> None:
    line = shell_line((sys.executable, "-c", SHOW, *words))
    assert json.loads(bash(line, pathlib.Path("/")))[0] == words


@pytest.mark.parametrize("word", ["if", "time", "A=b", "function", "while"])
def test_the_first_word_is_a_program_whatever_it_is(word: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / word).write_text("#!/bin/sh\necho ran\n")
    (tmp_path / word).chmod(0o755)
    assert bash(shell_line((word,)), tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}") == "ran\n"


@pytest.mark.parametrize("script", [slurm_script, pbs_script])
@pytest.mark.parametrize("again", [False, True])
def test_a_whole_script_runs_its_words_and_says_how_they_ended(script, again: bool, tmp_path: pathlib.Path) -> None:
    folder = "run $(touch canary)\n#PBS -q other; '\""
    site = Site(setup=("CANARY=$(touch canary)\n#SBATCH --nodes=9", ("true", "; touch canary")))
    batch = BATCH.with_(
        directory=folder, program=(sys.executable, "-c", f"{SHOW}sys.exit(3)"), command=tuple(NASTY), site=site
    )
    (tmp_path / folder).mkdir()
    if again:
        (tmp_path / folder / "manifest.json").touch()
    text = script(batch)
    (tmp_path / "job.sh").write_text(text)
    names = ("SLURM_SUBMIT_DIR", "SLURM_JOB_ID", "PBS_O_WORKDIR", "PBS_JOBID")
    env = {**os.environ, **dict(zip(names, (str(tmp_path), "7") * 2, strict=True))}
    assert subprocess.run(["bash", "-n", "job.sh"], cwd=tmp_path, check=True).returncode == 0
    ended = subprocess.run(["bash", tmp_path / "job.sh"], cwd="/", env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")
    said = json.loads((tmp_path / folder / "job.out").read_text())
    assert said == [list(batch.go_on if again else NASTY), {"CANARY": "$(touch canary)\n#SBATCH --nodes=9"}]
    assert (tmp_path / folder / "job.status").read_text() == "3\n"
    assert (tmp_path / folder / "job.id").read_text() == "7\n"
    assert not list(tmp_path.rglob("canary"))
    prefix = "#SBATCH" if script is slurm_script else "#PBS"
    assert not any("9" in text or "other" in text for text in directives(text, prefix))


def test_a_step_that_fails_ends_the_job(tmp_path: pathlib.Path) -> None:
    batch = BATCH.with_(site=Site(setup=(("false",),)), program=("touch", "reached"))
    env = {**os.environ, "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
    ended = subprocess.run(["bash", "-c", slurm_script(batch)], env=env, capture_output=True, check=False)
    assert ended.returncode == 1
    assert not (tmp_path / "reached").exists()
    assert not (tmp_path / "runs/one/job.status").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"queue": "x\n#SBATCH --y"},
        {"queue": " gpu"},
        {"account": "$(id)"},
        {"queue": "gpu#1"},
        {"site": Site(setup=("A;B=1",))},
        {"site": Site(setup=("no variable",))},
        {"command": ("a\0b",)},
        {"command": ("\udcff",)},
    ],
)
def test_scripts_refuse_what_could_be_misread(change: dict[str, object]) -> None:
    for script in (slurm_script, pbs_script):
        with pytest.raises(UsageError):
            script(BATCH.with_(**change))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exclusive",
        " --x",
        "--x ",
        "--x\n--y",
        "--x a b",
        "--x='a'",
        "--x=#a",
        "--x=$A",
        "--x=`a`",
        "--x=\\a",
        "--é",
    ],
)
def test_directives_refuse_what_a_scheduler_reads_in_its_own_way(text: str) -> None:
    with pytest.raises(UsageError, match="cannot stand in a job script"):
        directive(text)


@pytest.mark.parametrize("text", ["-N 4", "-N4", "--nodes=4", "--array=1-9", "-o x", "--output=/x", "-W", "-D /"])
def test_slurm_scripts_refuse_directives_that_they_have_themselves(text: str) -> None:
    with pytest.raises(UsageError, match="ncclprobe itself"):
        slurm_script(BATCH.with_(site=Site(directives=(text,))))


@pytest.mark.parametrize(
    "text", ["-N x", "-l select=4", "-l place=excl,nodes=2", "-J 1-9", "-o /x", "-S /bin/zsh", "-I"]
)
def test_pbs_scripts_refuse_directives_that_they_have_themselves(text: str) -> None:
    with pytest.raises(UsageError, match="ncclprobe itself"):
        pbs_script(BATCH.with_(site=Site(directives=(text,))))


SITE = """
modules = ["cuda/12.8", "openmpi"]
setup = ["NCCL_NOTE=two words", ["source", "/opt/an env/bin/activate"]]
program = ["/opt/env/bin/ncclprobe"]
prefix = ["nice", "-n", "5"]
directives = ["--exclusive"]
"""


def test_a_site_file_makes_the_job_s_environment() -> None:
    text = slurm_script(BATCH.with_(site=parse_site(SITE, "site.toml")))
    assert text.startswith("#!/bin/bash -l\n#SBATCH --exclusive\n")
    lines = text.splitlines()
    at = lines.index("module load cuda/12.8 || exit")
    assert lines[at + 1 : at + 4] == [
        "module load openmpi || exit",
        "export NCCL_NOTE='two words' || exit",
        "source '/opt/an env/bin/activate' || exit",
    ]
    assert "  nice -n 5 /opt/env/bin/ncclprobe validate-e2e --out=runs/one" in lines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modules = [", "site.toml: no site file"),
        ("module = []", "there is no 'module'"),
        ("modules = 'cuda'", "Expected `array`"),
        ("modules = ['-f']", "'-f' is no module's name"),
        ("setup = ['ulimit -l']", "neither NAME=VALUE nor a list"),
        ("setup = [['eval', 'x']]", "reads text as a shell does"),
        ("setup = [[]]", "at least a program's name"),
        ("directives = ['--a\\n#PBS -q x']", "cannot stand in a job script"),
        ("program = ['']", "at least a program's name"),
    ],
)
def test_a_site_file_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(ParseError, match=r"site\.toml: no site file") as problem:
        parse_site(text, "site.toml")
    assert said in str(problem.value)


def test_plain_words_stay_as_they_are() -> None:
    assert [quoted(word) for word in ("a", "--out=x/y.z", "NCCL_ALGO=Ring,Tree")] == [
        "a", "--out=x/y.z", "NCCL_ALGO=Ring,Tree",
    ]  # fmt: skip
    assert quoted("it's\n") == r"$'it\'s\x0a'"
    assert directive_value("gpu_a.b:c", "--queue") == "gpu_a.b:c"
