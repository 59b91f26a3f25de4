"""What the options of the shell's own commands, and of env, say about which variables are exported.

Source: POSIX.1-2024, Shell Command Language, 2.15 (export, set, unset); bash 5.2, Bash Builtins; GNU coreutils 9 (env).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ncclprobe.tuner.shell_words import NAME, Word

OTHERS = re.compile(r"\$\{!(?!NCCL|SGL)[A-Za-z]+_")
"""Of ``${!SLURM_@}``: names with another prefix than those that are looked at."""
ALL = ""
"""In the place of a name: whichever variables, as only a shell can tell."""


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
