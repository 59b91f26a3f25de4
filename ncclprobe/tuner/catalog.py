"""Read the tables of variables that come with the package (data/nccl_variables says how they are kept)."""

from __future__ import annotations

import csv
import functools
import importlib.resources

import msgspec

from ncclprobe.tuner.variables import Catalog, SglangName, Variable

NCCL = "nccl_variables.csv"
SGLANG = "sglang_variables.csv"


@functools.cache
def catalog() -> Catalog:
    """Return all known names."""
    return Catalog(
        nccl={row["name"]: msgspec.convert(row, Variable) for row in _rows(NCCL)},
        sglang={row["name"]: msgspec.convert(row, SglangName) for row in _rows(SGLANG)},
    )


def _rows(table: str) -> list[dict[str, str]]:
    text = (importlib.resources.files(__package__) / table).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
