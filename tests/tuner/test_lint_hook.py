"""The pre-commit hooks name a command and options that exist, and the files that lint reads."""

import pathlib
import re
import shlex

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
