"""Documents that others may have written, made fit for text: a name stays in its line and its cell."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ncclprobe.control import one_line
from ncclprobe.records.base import Record

Kind = TypeVar("Kind", bound=Record)
PROSE = frozenset({"hint", "message", "text", "verdict"})
"""Fields that may have several lines, such as quoted output; whoever shows them wraps or indents it."""


def in_lines(record: Kind) -> Kind:
    """Return a record in which the control characters of all names and values are written out."""
    fit: Kind = _struct(record)
    return fit


def _struct(record: Any) -> Any:
    changed = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        fit = value if name in PROSE and isinstance(value, str) else _fit(value)
        if fit is not value:
            changed[name] = fit
    return msgspec.structs.replace(record, **changed) if changed else record


def _fit(value: Any) -> Any:
    """Return a value, or what it becomes; the same object where nothing changes."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, msgspec.Struct):
        return _struct(value)
    if isinstance(value, tuple | list):
        fit = [_fit(one) for one in value]
        return value if all(new is old for new, old in zip(fit, value, strict=True)) else type(value)(fit)
    if isinstance(value, dict):
        return {_fit(key): _fit(one) for key, one in value.items()} if value else value
    return value
