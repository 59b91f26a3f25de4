"""What must not leave the machine in a report: values of names that say so, and passwords in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

MASK = "(hidden)"
_WORDS = r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API[-_]?KEY|ACCESS[-_]?KEY|PRIVATE[-_]?KEY|CREDENTIALS?)"
_NAME = re.compile(rf"-*[\w-]*{_WORDS}", re.IGNORECASE)
_ASSIGNED = re.compile(rf"([\w-]*{_WORDS}[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE)
_OPTION = re.compile(rf"(--[\w-]*{_WORDS}\s+)(?:\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE)
_BEARER = re.compile(r"(\bBearer\s+)\S+", re.IGNORECASE)
_ADDRESS = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text with the values of ``…TOKEN=…``, ``--api-key …`` and ``user:word@host`` hidden."""
    for pattern in (_ASSIGNED, _OPTION, _BEARER):
        text = pattern.sub(rf"\g<1>{MASK}", text)
    return _ADDRESS.sub(rf"\g<1>{MASK}@", text)


def is_secret(name: str) -> bool:
    """Return whether a variable's or an option's name says that its value is nobody's business."""
    return _NAME.fullmatch(name) is not None


def open_variables(variables: Mapping[str, object]) -> dict[str, str]:
    """Return variables as text, the values of secret ones hidden."""
    return {name: MASK if is_secret(name) else without_secrets(str(value)) for name, value in variables.items()}


def open_tokens(tokens: Iterable[str]) -> Iterator[str]:
    """Yield a command line's tokens; what follows ``--api-key`` and its like is hidden."""
    hide = False
    for token in tokens:
        yield MASK if hide else without_secrets(token)
        hide = token.startswith("-") and "=" not in token and is_secret(token)
