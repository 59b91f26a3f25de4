"""What the options of the shell's own commands, and of env, say about which variables are exported.

Source: POSIX.1-2024, Shell Command Language, 2.15 (export, set, unset); bash 5.2, Bash Builtins; GNU coreutils 9 (env).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ncclprobe.tuner.shell_words import ASSIGNMENT, NAME, Word

OTHERS = re.compile(r"\$\{!(?!NCCL|SGL)[A-Za-z]+_")
"""Of ``${!SLURM_@}``: names with another prefix than those that are looked at."""
SHELL_EXPORTS = re.compile(r"#![^\n]{0,80}sh[ \t]+-[a-zA-Z]{0,20}a")
"""A first line whose shell exports all that is assigned."""
EXPORTED = re.compile(r"-[a-zA-Z]*x")
"""Of ``declare`` and ``typeset``."""
PASSIVE = re.compile(
    r"^/(etc|usr|opt)/|(^|/)(activate|\.?(bash|zsh|k?sh)rc|\.?(bash_)?profile|(conda|modules|setvars)\.sh)$"
)
"""What is sourced for paths and programs, and exports none of a script's own variables."""
ALL = ""
"""In the place of a name: whichever variables, as only a shell can tell."""


def allexport(options: Sequence[str], *, before: bool) -> bool:
    """Return whether the shell exports all that is assigned, behind ``set`` with some options.

    Args:
        options: Of ``set``.
        before: Whether it did so before.
    """
    last, state = "", before
    for option in options:
        if (option[:1] not in ("-", "+") and not last.endswith("o")) or option == "--":
            break
        if option == "allexport" or ("a" in option[1:] and option[0] in "-+"):
            state = (last if option == "allexport" else option).startswith("-")
        last = option
    return state


def hides_names(word: Word) -> bool:
    """Return whether a word of ``export`` stands for names that only a shell can tell: ``"$NAME"``, ``NCCL_{A,B}``."""
    if ASSIGNMENT.match(word.start):
        return False
    return (word.literal is None and not _of_others(word)) or "{" in word.start


def may_export(program: str, words: Sequence[Word]) -> bool:
    """Return whether a command may export what a script has assigned: a sourced script, a text for ``eval``."""
    if program in ("source", "."):
        return not any(PASSIVE.search(word.shown) for word in words[1:2])
    return program == "eval" and any("export" in piece.text for word in words for piece in word.pieces)


def unset_names(words: Sequence[Word]) -> Iterator[str]:
    """Yield the variables that ``unset`` names, ``ALL`` where only a shell can tell."""
    if any(word.literal == "-f" for word in words):
        return  # functions
    for word in words:
        name = word.start.partition("=")[0]
        if NAME.fullmatch(name) and (word.literal or name != word.start):
            yield name
        elif not word.start.startswith("-") and "[" not in word.start and not _of_others(word):
            yield ALL


def _of_others(word: Word) -> bool:
    """Return whether a word is all names with a prefix that is not NCCL's or SGLang's."""
    return any(OTHERS.match(piece.text) for piece in word.pieces)


def stops_exporting(program: str, words: Sequence[Word]) -> bool:
    """Return whether a command takes variables out of what is exported: ``export -n``, ``declare +x``."""
    texts = [word.literal or "" for word in words]
    if program == "export":
        return any(text.startswith("-") and "n" in text for text in texts)
    return any(text.startswith("+") and "x" in text for text in texts)


def without(options: Sequence[Word]) -> Iterator[str]:
    """Yield the variables that options of ``env`` take away, ``ALL`` for an empty environment."""
    before = ""
    for text in (word.literal or "" for word in options):
        if before in ("-u", "--unset"):
            yield text
        elif text in ("-", "-i", "--ignore-environment"):
            yield ALL
        elif text.startswith("--unset="):
            yield text.removeprefix("--unset=")
        elif text.startswith("-u"):
            yield from filter(None, [text[2:]])
        before = text
