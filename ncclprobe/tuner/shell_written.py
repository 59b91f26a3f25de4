"""What a shell script writes into files: scripts in here-documents, lines of nccl.conf by echo and printf."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ncclprobe.tuner.conf_script import NAME as CONF
from ncclprobe.tuner.shell_words import HereDocument, Word

SPEAKERS = frozenset({"echo", "printf"})
NOT_SAID = re.compile(r"-[neE]+|\d")
"""Options, and the descriptor of a redirection that follows."""
SHELLS = frozenset({"bash", "sh", "zsh", "dash", "ksh"})
RECEIVERS = SHELLS | {"sbatch", "qsub", "ssh", "srun"}
"""Commands whose here-document is a script."""
COPIERS = frozenset({"cat", "tee"})
"""Commands whose here-document is a script where the file that it goes into is one."""
SCRIPT_FILE = re.compile(r"(\.(sh|bash|zsh|ksh|sbatch|slurm|pbs|lsf|sge|sub|job|batch)|rc|profile)\Z")
SHELL_LINE = re.compile(r"#![^\n]{0,80}\b(ba|z|da|k)?sh\b")


def said(program: str, words: Sequence[Word]) -> str:
    """Return what echo or printf writes, its escapes as they stand."""
    texts = [word.shown for word in words if not NOT_SAID.fullmatch(word.shown)]
    return _formatted(texts) if program == "printf" else " ".join(texts)


def _formatted(texts: Sequence[str]) -> str:
    """Return what printf writes, which uses its format again until no argument is left; empty for other than ``%s``."""
    if not texts:
        return ""
    form, arguments = texts[0], list(texts[1:])
    pieces = form.replace("%%", "%").split("%s")
    if any("%" in piece for piece in form.replace("%%", "").split("%s")):
        return ""
    text = ""
    while True:
        used = [arguments.pop(0) if arguments else "" for _ in pieces[1:]]
        text += pieces[0] + "".join(value + piece for value, piece in zip(used, pieces[1:], strict=True))
        if not arguments or len(pieces) == 1:
            return text


def is_conf(target: str) -> bool:
    """Return whether a word, or the end of a remote command, names nccl.conf."""
    return target.endswith(CONF) and "=" not in target.split()[-1]


def is_script(program: str, document: HereDocument, targets: Sequence[str]) -> bool:
    """Return whether a shell reads a here-document, at once or as a file."""
    named = any(SCRIPT_FILE.search(target) for target in targets) or SHELL_LINE.match(document.text)
    return program in RECEIVERS or (program in COPIERS and bool(named))
