"""Sizes and durations as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import UsageError
from ncclprobe.units import format_seconds, format_size, parse_size, parse_sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8", 8), ("0", 0), ("1K", 1024), ("1k", 1024), ("8M", 8 << 20), ("8MiB", 8 << 20), ("8MB", 8 << 20),
        (" 64 K ", 65536), ("1G", 1 << 30), ("2T", 2 << 40),
    ],
)  # fmt: skip
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "8X", "M", "-8", "1.5M", "8 8", "0x8"])
def test_what_is_no_size_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="is no size; write bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("8:512:8", (8, 64, 512)),
        ("8:600:8", (8, 64, 512)),
        ("8:32", (8, 16, 32)),
        ("8:8:2", (8,)),
        ("1M,8,8,64K", (8, 65536, 1 << 20)),
        ("4K", (4096,)),
    ],
)
def test_parse_sizes(text: str, sizes: tuple[int, ...]) -> None:
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["8:", "8:1M:", "8:1M:1", "1M:8:2", "0:8:2", "8:1M:2:2", "8:1M:x", "8,", "a:b"])
def test_bad_ranges_are_said(text: str) -> None:
    with pytest.raises(UsageError):
        parse_sizes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0"), (8, "8"), (1023, "1023"), (1024, "1K"), (1536, "1536"), (8 << 20, "8M"), (1 << 40, "1T")],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 50))
def test_a_size_survives_being_written_and_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"), (1.5e-9, "1.5 ns"), (12.34e-6, "12.3 µs"), (999.6e-6, "1 ms"), (4.56e-3, "4.56 ms"),
        (0.5, "500 ms"), (7.8, "7.8 s"), (119.0, "119 s"), (200.0, "3 min 20 s"), (3600.0, "60 min 0 s"),
    ],
)  # fmt: skip
def test_format_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
