"""Every exception that ncclprobe raises.

    ProbeError                  what the command line turns into "Error: ..." and exit status 1
    ├── UsageError              the options contradict each other or name what does not exist; exit status 2
    ├── ParseError              a text is not what it should be: source, line, text
    ├── RunDirectoryError       a run directory cannot be written, read or resumed
    │   └── NoRunError          a path names none; exit status 2
    ├── MissingDependencyError  a library or a program is absent; says which extra or package brings it
    ├── LaunchError             ranks could not be started or ended early
    │   └── HostsGoneError      hosts that ranks were to run on do not answer
    └── BackendError            a backend refused or failed an operation
        └── MeasurementTimeout  a measurement did not end in time
            └── RankLostError   because a rank is gone or was stopped

A message says what is wrong, where, and what to do next.
"""

from __future__ import annotations


class ProbeError(Exception):
    """The root of ncclprobe's exceptions."""

    exit_status = 1


class UsageError(ProbeError):
    """The options contradict each other or name what does not exist."""

    exit_status = 2


class ParseError(ProbeError):
    """A text is not what it should be.

    Attributes:
        source: The file's name, or what stands for it.
        line: Counted from 1, None where no single line is at fault.
        text: The offending text, cut to 200 characters.
    """

    def __init__(self, message: str, *, source: str, line: int | None = None, text: str = "") -> None:
        self.source, self.line, self.text = source, line, text[:200]
        where = source if line is None else f"{source}:{line}"
        super().__init__(f"{where}: {message}" + (f": {self.text!r}" if text else ""))


class RunDirectoryError(ProbeError):
    """A run directory cannot be written, read or resumed."""


class NoRunError(RunDirectoryError):
    """A path names no run directory."""

    exit_status = 2


class MissingDependencyError(ProbeError):
    """A library or a program is absent; the message says which extra or package brings it."""


class LaunchError(ProbeError):
    """Ranks could not be started or ended early."""


class HostsGoneError(LaunchError):
    """Hosts that ranks were to run on do not answer; starting ranks again would not help."""


class BackendError(ProbeError):
    """A backend refused or failed an operation."""


class MeasurementTimeout(BackendError):
    """A measurement did not end in time."""


class RankLostError(MeasurementTimeout):
    """A measurement did not end because a rank is gone or was stopped, not because of what it ran."""


def reason(problem: Exception) -> str:
    """Return why something cannot be read, without the number and the path that Python's own messages repeat."""
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
