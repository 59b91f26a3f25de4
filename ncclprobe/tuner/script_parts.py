"""Scripts inside a file of another kind: a manifest's blocks, a Dockerfile's commands."""

from __future__ import annotations

from collections.abc import Sequence

from ncclprobe.tuner.script import Dialect, Launch, Script, Setting

SPAN = 1000
"""What a line counts for in the order of all that a file does: its own script's commands lie within."""


def placed(script: Script, scope: tuple[int, ...], line: int) -> Script:
    """Return a script as a part of a file.

    Args:
        script: That stands there.
        scope: Of the part; its last number is negative, as for all that another process sets.
        line: Where it begins.
    """
    offset = SPAN * line
    return script._replace(
        settings=tuple(_moved(one, scope, offset) for one in script.settings),
        launches=tuple(_launched(one, scope, offset) for one in script.launches),
    )


def _moved(setting: Setting, scope: tuple[int, ...], offset: int) -> Setting:
    launch = setting.launch + offset if setting.launch >= 0 else -1
    return setting._replace(order=setting.order + offset, scope=(*scope, *setting.scope), launch=launch)


def _launched(launch: Launch, scope: tuple[int, ...], offset: int) -> Launch:
    return launch._replace(order=launch.order + offset, scope=(*scope, *launch.scope))


def joined(source: str, dialect: Dialect, settings: Sequence[Setting], parts: Sequence[Script]) -> Script:
    """Return a file's own settings and its parts as one script.

    Args:
        source: What findings call the file.
        dialect: What it is.
        settings: Its own.
        parts: In their places.
    """
    return Script(
        source=source,
        dialect=dialect,
        settings=(*settings, *(one for part in parts for one in part.settings)),
        launches=tuple(one for part in parts for one in part.launches),
        used=frozenset[str]().union(*(part.used for part in parts)),
        exported=frozenset[str]().union(*(part.exported for part in parts)),
        spaced=tuple(one for part in parts for one in part.spaced),
        cut=tuple(one for part in parts for one in part.cut),
        lost=tuple(one for part in parts for one in part.lost),
        written=tuple(one for part in parts for one in part.written),
        ended=tuple(one for part in parts for one in part.ended),
    )
