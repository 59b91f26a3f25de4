"""The commands that pages show: found in their text, split into tokens, checked by click, run without a shell."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from ncclprobe.cli import group

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?: {4}[^\n]*\n)+(?:\n+(?: {4}[^\n]*\n)+)*")
_BARE = re.compile(r"(ncclprobe|scripts/\w+|pip|python|export|\w+=\S*) ?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_OPERATORS = set("();<>|&")
SHELLS = ("sh", "bash", "shell")
PROMPTED = ("console", "")


@dataclass(frozen=True)
class Command:
    """A command as a page shows it."""

    page: str
    """The page's path in the checkout."""
    text: str
    """Without prompt; lines that a backslash joins are one."""
    shown: tuple[str, ...] = ()
    """The lines that stand below it, where a prompt stands before it."""


def page_commands(page: pathlib.Path) -> list[Command]:
    """Return the commands of a page's blocks, in order."""
    text, name = page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix()
    fenced = [(found.start(), found[2], _undented(found[3], len(found[1]))) for found in _FENCE.finditer(text)]
    without = _FENCE.sub(lambda found: re.sub(r"[^\n]", "x", found[0]), text)
    indented = [(found.start(), "", _undented(found[0], 4)) for found in _INDENTED.finditer(without)]
    blocks = sorted(fenced + indented)
    return [command for _at, language, block in blocks for command in _of_block(name, language, block)]


def inline_commands(page: pathlib.Path) -> list[Command]:
    """Return the code within a page's sentences that begins with a command of ours."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    spans = re.findall(r"`(ncclprobe [\w-]+ [^`]*)`", text)
    return [Command(page.relative_to(ROOT).as_posix(), " ".join(span.split())) for span in spans]


def _undented(block: str, columns: int) -> str:
    return "\n".join(line[columns:] if line[:columns].isspace() else line for line in block.splitlines())


def _of_block(page: str, language: str, block: str) -> Iterator[Command]:
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    if language in PROMPTED and any(line.startswith("$ ") for line in lines):
        for part in re.split(r"^\$ ", "\n".join(lines), flags=re.MULTILINE)[1:]:
            text, *shown = part.splitlines()
            yield Command(page, text, tuple(shown))
    elif language in SHELLS:
        yield from (Command(page, line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))
    elif language == "":
        yield from (Command(page, line) for line in lines if _BARE.match(line))


def tokens(text: str) -> list[str]:
    """Return the words and operators of a line, as a shell would split it; comments are left out."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def programs(text: str) -> Iterator[list[str]]:
    """Yield each program with its arguments: of pipelines, behind srun and its like, and within quoted commands."""
    words: list[str] = []
    for token in [*tokens(text), "|"]:
        if not set(token) <= _OPERATORS:
            words.append(token)
            if token.startswith("ncclprobe "):
                yield from programs(token)
            continue
        words = words[next((at for at, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words)) :]
        if "ncclprobe" in words[1:] and words[0] not in ("which", "pip"):
            words = words[words.index("ncclprobe") :]
        if words:
            yield words
        words = []


def check_ours(arguments: list[str]) -> None:
    """Let click look at a command of ours without running it.

    Raises:
        click.UsageError: There is no such command, option or value.
    """
    command: click.Command = group
    context = click.Context(group, info_name="ncclprobe")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
        context = click.Context(command, info_name=name, parent=context)
    given, _rest, order = command.make_parser(context).parse_args(list(arguments))
    for parameter in order:
        if not isinstance(parameter.type, click.Path | click.File) and parameter.name in given:
            value = given[parameter.name]
            if isinstance(parameter, click.Option) and isinstance(value, str) and not _placeholder(value):
                parameter.type_cast_value(context, value)


def unknown_options(arguments: list[str]) -> list[str]:
    """Return the options among a command's words that it does not have."""
    command: click.Command = group
    while isinstance(command, click.Group) and arguments:
        found = command.get_command(click.Context(command), arguments[0])
        if found is None:
            return arguments[:1]
        command, arguments = found, arguments[1:]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help", "--"}
    return [word for word in arguments if word.startswith("--") and word.partition("=")[0] not in known]


def _placeholder(value: str) -> bool:
    return value.startswith("$") or re.fullmatch(r"[A-Z][A-Z,]*(\.\.\.)?", value) is not None


@dataclass
class Shell:
    """Runs lines as a shell would, as far as pages need it; no shell takes part."""

    folder: pathlib.Path
    """Where commands run."""
    environment: dict[str, str]
    """What they get."""
    status: int = 0
    """How the last one ended."""
    messages: str = ""
    """What it printed to stderr."""

    def run(self, text: str, extra: tuple[str, ...] = ()) -> str:
        """Run a line, with further arguments for its first program, and return its output and messages."""
        words, target = _redirected(tokens(text))
        parts = _parted(words, "|")
        at = parts[0].index("--") if "--" in parts[0] else len(parts[0])
        parts[0][at:at] = extra
        output = b""
        for part in parts:
            if part[0] == "export":
                self.environment.update(_assignment(word) for word in part[1:])
                continue
            output = self._program(part, output)
        if target:
            (self.folder / target).write_bytes(output)
        return output.decode()

    def _program(self, words: list[str], given: bytes) -> bytes:
        own = dict(_assignment(word) for word in words[:1] if _ASSIGNMENT.match(word))
        words = [word.replace("$?", str(self.status)) for word in words[len(own) :]]
        ended = subprocess.run(
            [*_PROGRAMS.get(words[0], [words[0]]), *words[1:]], cwd=self.folder, env={**self.environment, **own},
            input=given, capture_output=True, timeout=200, check=False,
        )  # fmt: skip
        self.status = ended.returncode
        self.messages = ended.stderr.decode()
        return ended.stdout


_PROGRAMS = {
    "ncclprobe": [sys.executable, "-m", "ncclprobe"],
    "python": [sys.executable],
    "python3": [sys.executable],
    "sphinx-build": [sys.executable, "-m", "sphinx"],
}
"""What stands for a program of this environment."""


def _assignment(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    return name, value


def _redirected(words: list[str]) -> tuple[list[str], str]:
    if ">" not in words:
        return words, ""
    at = words.index(">")
    return words[:at] + words[at + 2 :], words[at + 1]


def _parted(words: list[str], operator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word == operator:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def clean_environment(home: pathlib.Path) -> dict[str, str]:
    """Return an environment without a site's or a scheduler's variables, with the checkout's package first."""
    prefixes = ("NCCL", "MPIR_", "OMPI_", "SLURM", "PBS_", "HYDRA_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(home), "COLUMNS": "80"}
