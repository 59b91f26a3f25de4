"""Every command that README and docs/ show is run here, or looked at by click where it cannot be."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import tomllib
from typing import Any

import click
import page_commands
import pytest
from page_commands import PAGES, ROOT, Command, Shell

GPUS, SLURM, PBS, HOSTS = "needs GPUs", "needs Slurm", "needs PBS", "needs other hosts"
KUBERNETES, NETWORK, LONG, PLACEHOLDER = "needs Kubernetes", "fetches or installs", "takes long", "has placeholders"
SCRIPT, OUTSIDE, DAEMON = "is part of a job script", "writes outside its folder", "runs until it is ended"

NOT_RUN = {
    r"^(salloc|sbatch|srun) ": SLURM,
    r"--launcher srun": SLURM,
    r"SLURM_": SLURM,
    r"^pbsdsh |PBS_|scans$|/shared/": PBS,
    r"^kubectl |^ncclprobe .*ncclprobe-worker": KUBERNETES,
    r"^ssh |--hosts '(dgx|node)": HOSTS,
    r"--workload sglang|^export SGLANG_| vllm ": GPUS,
    r" nwchem\.mpich ": HOSTS,
    r"^ncclprobe env check": GPUS,
    r"--each gpu|--backend nccl|--channels default,[14],": GPUS,
    r"^(git clone|cd ncclprobe|\. |python3 -m venv|pip install|sphinx-build)": NETWORK,
    r"^scripts/": LONG,
    r"^plugin=|\$plugin|\$PWD| RUN |/scratch/": PLACEHOLDER,
    r"^ncclprobe report before after": PLACEHOLDER,
    r"ncclprobe profile (nccl|-)": PLACEHOLDER,
    r"^export NCCL_IB_HCA|^cd ": SCRIPT,
    r"> ~/|--prometheus /var/": OUTSIDE,
    r"^prometheus-node-exporter": DAEMON,
}
"""What of a command's text says that it is not run here -> why."""

SMALLER = {
    "ncclprobe sweep --json": ("--nranks", "2", "--sizes", "8,4K", "--budget", "2"),
    "ncclprobe sweep --backend mpi": ("--sizes", "8,4K", "--budget", "2"),
    "ncclprobe watch --every 1s": ("--count", "1"),
    "ncclprobe validate-e2e --candidate": ("--trials", "1", "--warmup", "0", "--steps", "1", "--nranks", "2"),
    "ncclprobe validate-e2e --workload command": ("--trials", "2", "--warmup", "0"),
}
"""A command's beginning -> what is added so that it ends soon; where ``--`` stands in it, before that."""

REAL_RANKS = (
    "ncclprobe sweep --json",
    "ncclprobe sweep --backend mpi",
    "ncclprobe validate-e2e --candidate",
    "--launcher local",
)
"""What begins such commands needs MPI."""

FIGURES = "its figures move whenever the order of measurements changes"
NOT_COMPARED = {
    r"^ncclprobe (sweep|tune|watch|validate-e2e) ": FIGURES,
    r"^ncclprobe report run/": FIGURES,
    r"few\.csv": "the page's file is not kept",
}
"""What of a command's text says that its output may differ from what its page shows -> why."""

STATUS = {"ncclprobe env emit scan.json other.json": 2}
"""Command -> how it ends where that is neither 0 nor 3."""

FILES = {
    "docs/nodes.md": {
        "few.csv": "nodes,value\n"
        '"dgx001,dgx002",80\n"dgx003,dgx004",100\n"dgx001,dgx003",97\n'
        '"dgx002,dgx004",85\n"dgx001,dgx004",99\n"dgx002,dgx003",88\n'
    },
    "docs/validate-e2e.md": {"serve.py": "print('throughput: 1000 tok/s')\n"},
}
"""Page -> files that it takes for granted, with their text."""

RUN = "ncclprobe-runs/20261122T021100Z-sweep"
MADE = {
    "scan": "ncclprobe scan --from data/fleet_dgx_12hca --out scan",
    "sweep": "ncclprobe sweep --fabric data/fabric_nvlink_model/fabric.toml --seed 1 --out sweep",
}
"""Runs that pages take for granted -> what makes them."""

TAKEN = {
    "docs/prometheus.md": {RUN: "sweep"},
    "docs/report.md": {"run/scan": "scan", "run/sweep": "sweep"},
    "docs/sweep.md": {RUN: "sweep"},
}
"""Page -> where it has one of these -> which."""


def reason_not_to_run(command: Command) -> str:
    """Return why a command is not run here, nothing if it is."""
    return next((reason for pattern, reason in NOT_RUN.items() if re.search(pattern, command.text)), "")


def _commands(page: pathlib.Path) -> list[Command]:
    return page_commands.page_commands(page)


def _needs_mpi(page: pathlib.Path) -> bool:
    kept = [command.text for command in _commands(page) if not reason_not_to_run(command)]
    return any(beginning in text for text in kept for beginning in REAL_RANKS)


def _to_run() -> list[Any]:
    pages = [page for page in PAGES if any(not reason_not_to_run(command) for command in _commands(page))]
    return [pytest.param(page, id=page.stem, marks=pytest.mark.mpi if _needs_mpi(page) else ()) for page in pages]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return a folder with the runs that several pages take for granted."""
    shell = _shell(tmp_path_factory.mktemp("made"))
    for text in MADE.values():
        _run(shell, Command("", text))
    return shell.folder


@pytest.mark.parametrize("page", _to_run())
def test_commands_run_in_the_order_of_their_page(
    page: pathlib.Path, made: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shell = _shell(tmp_path)
    _take(page.relative_to(ROOT).as_posix(), made, tmp_path)
    for command in _commands(page):
        if not reason_not_to_run(command):
            output = _run(shell, command)
            if not any(re.search(pattern, command.text) for pattern in NOT_COMPARED):
                assert [part for part in _parts(command) if part not in _plain(output)] == [], output


def _parts(command: Command) -> list[str]:
    """Return what a page shows of an output, in the pieces between its ellipses."""
    return [_plain(part) for part in "\n".join(command.shown).split("…")]


def _plain(text: str) -> str:
    """Return a text without what differs from run to run and from width to width."""
    return " ".join(re.sub(r"\d{8}T\d{6}Z", "TIME", text).split())


def _shell(folder: pathlib.Path) -> Shell:
    for linked in ("data", "tests"):
        (folder / linked).symlink_to(ROOT / linked)
    return Shell(folder, page_commands.clean_environment(folder))


def _take(page: str, made: pathlib.Path, folder: pathlib.Path) -> None:
    if page == "docs/inspect.md":
        shutil.copytree(ROOT / "tests/data/inspect", folder, dirs_exist_ok=True)
    for file, text in FILES.get(page, {}).items():
        (folder / file).write_text(text, encoding="utf-8")
    for target, source in TAKEN.get(page, {}).items():
        shutil.copytree(made / source, folder / target)


def _run(shell: Shell, command: Command) -> str:
    extra = next((added for start, added in SMALLER.items() if command.text.startswith(start)), ())
    output = shell.run(command.text, extra)
    expected = {STATUS[command.text]} if command.text in STATUS else {0, 3}
    assert shell.status in expected, (command, shell.messages)
    return shell.messages + output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_click_knows_every_command_and_option(page: pathlib.Path) -> None:
    for command in _commands(page):
        for words in page_commands.programs(command.text):
            if words[0] == "ncclprobe":
                page_commands.check_ours(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_named_in_sentences_exist(page: pathlib.Path) -> None:
    assert [
        (command.text, unknown)
        for command in page_commands.inline_commands(page)
        if (unknown := page_commands.unknown_options(page_commands.tokens(command.text)[1:]))
    ] == []


def test_scripts_and_extras_that_pages_name_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    texts = [command.text for page in PAGES for command in _commands(page)]
    installed = [text for text in texts if text.startswith("pip install")]
    assert {extra for text in installed for extra in re.findall(r"\[(\w+)\]", text)} <= set(extras)
    scripts = {text.split()[0] for text in texts if text.startswith("scripts/")}
    assert [script for script in scripts if not os.access(ROOT / script, os.X_OK)] == []


@pytest.mark.parametrize("pattern", [*NOT_RUN, *NOT_COMPARED])
def test_what_the_tables_except_is_still_there(pattern: str) -> None:
    assert any(re.search(pattern, command.text) for page in PAGES for command in _commands(page))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("sweep --chanels 4", "No such option"),
        ("sweep --mode fast", "is not one of"),
        ("nodes --threshold much", "is not a valid float"),
        ("sweeep", "No such command"),
    ],
)
def test_a_misspelt_command_is_found(arguments: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        page_commands.check_ours(arguments.split())


def test_commands_are_found_in_every_kind_of_block(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ one --a \\\n    --b\nshown\n$ two | three\n```\n\n```bash\n# not this\nfour 'x y'\n```\n\n"
        "```toml\nfive = 5\n```\n\n- item:\n\n  ```\n  $ six\n  ```\n\n    ncclprobe seven\n\n"
        "```text\n$ not this\n```\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(page_commands, "ROOT", tmp_path)
    found = page_commands.page_commands(page)
    assert [(command.text, command.shown) for command in found] == [
        ("one --a --b", ("shown",)), ("two | three", ()), ("four 'x y'", ()), ("six", ()), ("ncclprobe seven", ()),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["troubleshooting", "verdicts", "infiniband", "roce", "kubernetes", "ssh"])
def test_findings_named_by_symptom_exist(name: str) -> None:
    findings = (ROOT / "docs/findings.md").read_text(encoding="utf-8")
    codes = set(re.findall(r"^\| `([\w-]+)` \|", findings, re.MULTILINE))
    named = set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)+)`", (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")))
    assert named - codes - {"validate-e2e", "no-difference"} == set()
