"""What README and docs say is there: the demo's output, the commands, the links."""

from __future__ import annotations

import os
import pathlib
import re

import pytest

from ncclprobe.cli import COMMANDS

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_demos_output_is_that_of_the_run_that_is_kept() -> None:
    match = re.search(r"\]\((data/demo_\w+)\)\):\n\n<!-- demo -->\n```\n(.*?)\n```", README, re.DOTALL)
    assert match
    report = (ROOT / match[1] / "report.txt").read_text(encoding="utf-8")
    parts = [part.strip("\n") for part in match[2].split("…") if part.strip()]
    assert len(parts) >= 3
    assert [part for part in parts if part not in report] == []


@pytest.mark.parametrize("name", ["demo", "test", "check", "lint", "environment"])
def test_scripts_can_be_run(name: str) -> None:
    assert os.access(ROOT / "scripts" / name, os.X_OK)


def test_readme_names_the_two_commands_and_every_command() -> None:
    assert "\nscripts/demo " in README
    assert "\nscripts/test " in README
    assert [command for command in COMMANDS if f"[`ncclprobe {command}" not in README] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []
