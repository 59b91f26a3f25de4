"""Settings of a Dockerfile that end with the shell that made them."""

from __future__ import annotations

from collections.abc import Iterator

from ncclprobe.findings import Severity
from ncclprobe.tuner.lint_case import Case, Doubt


def check_ended(case: Case) -> Iterator[Doubt]:
    """Yield what a RUN exports and nothing sees."""
    for setting in case.script.ended:
        if case.ours(setting.name):
            message = f"{setting.name} is exported in the shell of this RUN, which ends with it, so the image lacks it"
            hint = f"write ENV {setting.name}={'...' if setting.value is None else setting.value}"
            yield Doubt(setting.line, Severity.WARNING, "variable-not-exported", message, hint)
