"""Names on the axes of plots: short, and no two alike."""

from __future__ import annotations

import pytest

from ncclprobe.report.html.labels import LONGEST, named_axis, short_names

DOMAIN = ".ncclprobe-nodes.ml-training.svc.cluster.local"


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["dgx001", "dgx002"], ["dgx001", "dgx002"]),
        ([f"worker-3{DOMAIN}", f"worker-12{DOMAIN}"], ["worker-3", "worker-12"]),
        ([f"ncclprobe-nodes-worker-{number}{DOMAIN}" for number in (3, 12)], ["…nodes-worker-3", "…nodes-worker-12"]),
        (["gpu_cluster_of_frankfurt_1", "gpu_cluster_of_frankfurt_2"], ["…of_frankfurt_1", "…of_frankfurt_2"]),
        (["x" * 30 + "a" + "y" * 30, "x" * 30 + "b" + "y" * 30], ["xxxxxxxxxxxxxxxxx… 1", "xxxxxxxxxxxxxxxxx… 2"]),
        (["n" * 300, "dgx001"], ["nnnnnnnnnn…nnnnnnnnn", "dgx001"]),
        (["a" * 30, "a" * 29 + "b"], ["aaaaaaaaaa…aaaaaaaaa", "aaaaaaaaaa…aaaaaaaab"]),
        (["rack.local.long.name.of.cluster", "local.long.name.of.cluster"], ["rack.local", "local"]),
        ([f"only.one{DOMAIN}"], ["only.one.n…ter.local"]),
        (["https://me:word@host"], ["https://(h…den)@host"]),
        ([], []),
    ],
)  # fmt: skip
def test_names_are_shortened_by_what_they_share(names: list[str], labels: list[str]) -> None:
    assert short_names(names) == labels
    assert all(len(label) <= LONGEST for label in labels)


def test_crowded_names_stand_aslant() -> None:
    assert [named_axis(range(len(labels)), labels)["tickangle"] for labels in
            (["a", "b"], ["a"] * 5, ["a" * 20, "b" * 20], ["a" * 21, "b" * 20])] == [0, -60, 0, -60]  # fmt: skip
