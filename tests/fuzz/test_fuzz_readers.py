"""No reader raises anything but ncclprobe's own errors; ``scripts/fuzz.py`` looks for longer."""

from __future__ import annotations

import pathlib
import random
import tempfile

import fuzz_mutations as mutations
import fuzz_targets as targets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEPT = sorted(targets.CORPUS.glob("*/*"))
READERS = [name for name in targets.TARGETS if name != "document"]
"""A document goes through every report: see test_report_of_a_mutated_document."""


MONOTONOUS = [
    b"", b"\0", b"\xff\xfe", b"\n" * 20_000, b" " * 200_000, b"9" * 200_000, b"{" * 20_000, b"[1," * 20_000,
    b"x=" * 50_000, b"a-" * 50_000,
]  # fmt: skip


def read(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        problem = targets.read(name, content, pathlib.Path(folder))
    if problem is not None:
        raise problem


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_broke_a_reader_does_so_no_more(path: pathlib.Path) -> None:
    read(path.parent.name, path.read_bytes())


def test_every_kept_input_has_a_reader() -> None:
    assert {path.parent.name for path in KEPT} <= set(targets.TARGETS)
    assert sum(path.stat().st_size for path in KEPT) < 400_000


@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_samples_are_read(name: str) -> None:
    seeds = targets.TARGETS[name].seeds()
    assert seeds
    for content in seeds[:5]:
        read(name, content)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
def test_mutated_samples_break_no_reader(name: str, chance: random.Random) -> None:
    read(name, mutations.mutated(chance, targets.TARGETS[name].seeds()))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", MONOTONOUS, ids=lambda content: repr(content[:4]))
def test_monotonous_input_takes_no_time(name: str, content: bytes) -> None:
    """A reader whose time grows with the square of a line's length would need minutes for these."""
    read(name, content)


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
def test_report_of_a_mutated_document(chance: random.Random) -> None:
    read(
        "document",
        mutations.mutated(chance, [seed for seed in targets.TARGETS["document"].seeds() if len(seed) < 5000]),
    )
