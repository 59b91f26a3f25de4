"""Lines of nccl.conf that NCCL reads otherwise than they look.

Source: NCCL 2.30.7, src/misc/param.cc (``setEnvFile``): the name is all before the first ``=``, the value the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_case import Case, Doubt
from ncclprobe.tuner.variables import release

CODE = "conf-syntax"
RETURNS_DROPPED = (2, 30)
"""Source: NCCL 2.30.3, src/misc/param.cc (``setEnvFile``); 2.29.7's keeps them."""


def check_conf(case: Case) -> Iterator[Doubt]:
    """Yield lines with spaces, quotes, ``export`` or comments behind values, and the first that ends as on Windows."""
    for number, line in case.script.raw:
        if line.strip() and not line.startswith("#"):
            yield from _line(number, line.removesuffix("\r"))
    yield from _returns(case)


def _returns(case: Case) -> Iterator[Doubt]:
    known = release(case.version)
    first = next((number for number, line in case.script.raw if line.endswith("\r") and "=" in line), 0)
    if first and known < RETURNS_DROPPED:
        message = "lines end in CR LF, as on Windows, and NCCL before 2.30 takes the CR for a part of each value"
        yield Doubt(first, Severity.ERROR if known else Severity.WARNING, CODE, message, "write the file with LF alone")


def _line(number: int, line: str) -> Iterator[Doubt]:
    name, equals, value = line.partition("=")
    if line.lstrip().startswith("#"):
        return  # without "=" it is passed over; with one it names no variable
    if not equals:
        yield _doubt(number, f"{line.strip()!r} has no =, so NCCL passes it over", "write NAME=VALUE")
    elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = f"NCCL takes {name!r} as the name, which it never reads"
        words = name.split()
        yield _doubt(number, message, f"write {words[-1] if words else 'NAME'}={value.strip()}")
    elif value != value.strip() or (len(value) > 1 and value[0] in "\"'") or re.search(r"\s#", value):
        bare = re.sub(r"(?<!\s)\s+#.*$", "", value).strip().strip("\"'")
        message = f"NCCL takes all behind the = as the value, {value!r}: spaces, quotes and comments too"
        yield _doubt(number, message, f"write {name}={bare}")


def _doubt(number: int, message: str, hint: str) -> Doubt:
    return Doubt(number, Severity.ERROR, CODE, message, hint)
