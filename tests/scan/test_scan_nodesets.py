"""Folded sets of node names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.errors import UsageError
from ncclprobe.nodesets import expand, fold, natural_key


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dgx001", ["dgx001"]),
        ("dgx[001-004,007]", ["dgx001", "dgx002", "dgx003", "dgx004", "dgx007"]),
        ("a1,b[1-2]", ["a1", "b1", "b2"]),
        ("a1 b2\nc3", ["a1", "b2", "c3"]),
        ("r[1-2]n[01-02]-ib", ["r1n01-ib", "r1n02-ib", "r2n01-ib", "r2n02-ib"]),
        ("n[8-10]", ["n8", "n9", "n10"]),
        ("n[08-10]", ["n08", "n09", "n10"]),
        ("n[0-8/4]", ["n0", "n4", "n8"]),
        ("10.77.0.[1-3]", ["10.77.0.1", "10.77.0.2", "10.77.0.3"]),
        ("a[1-2],a1", ["a1", "a2"]),
        ("n[1-2, 5]", ["n1", "n2", "n5"]),
    ],
)
def test_expand(text: str, names: list[str]) -> None:
    assert list(expand(text)) == names


@pytest.mark.parametrize("text", ["", " , ", "n[1-", "n1]", "n[3-1]", "n[a-b]", "n[]", "n[1-999999999]", "n[[1]]"])
def test_expand_says_what_is_wrong(text: str) -> None:
    with pytest.raises(UsageError):
        expand(text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["login"], "login"),
        (["dgx007", "dgx001", "dgx002"], "dgx[001-002,007]"),
        (["n8", "n9", "n10"], "n[8-10]"),
        (["n08", "n09", "n10"], "n[08-10]"),
        (["a1", "b1"], "a1,b1"),
        (["mlx5_2", "mlx5_8"], "mlx5_[2,8]"),
    ],
)
def test_fold(names: list[str], text: str) -> None:
    assert fold(names) == text


@settings(max_examples=100, deadline=None)
@given(st.sets(st.from_regex(r"(n|r1n|dgx-)[0-9]{1,4}(x)?", fullmatch=True), min_size=1, max_size=30))
def test_expand_undoes_fold(names: set[str]) -> None:
    folded = fold(names)
    assert set(expand(folded)) == names
    assert fold(expand(folded)) == folded


def test_natural_order() -> None:
    assert sorted(["mlx5_10", "mlx5_2", "mlx4_0"], key=natural_key) == ["mlx4_0", "mlx5_2", "mlx5_10"]


@pytest.mark.parametrize("text", ["dgx[0-99999]" * 20, "dgx[0-99999],x", f"dgx[{'0-49999,' * 3}1]", "n[0-99][0-9999]"])
def test_a_set_of_too_many_names_is_refused_before_any_is_made(text: str) -> None:
    with pytest.raises(UsageError, match="has more than 100000 names; is a range mistyped"):
        expand(text)


def test_the_largest_set_is_expanded() -> None:
    assert len(expand("n[0-99999]")) == 100_000
