"""`env check` of an MPI library's variables, on real ranks."""

from __future__ import annotations

import json
import pathlib

import msgspec
import pytest
from click.testing import CliRunner

from ncclprobe.cli import group
from ncclprobe.records.sweep import Choice, Cost, Ratio, SweepDocument, TableRow, Verdict

pytestmark = pytest.mark.mpi

ROW = TableRow(collective="all_reduce", min_bytes=8, max_bytes=4096, algo="Ring", proto="default", nchannels=None)
ALGORITHM, DEVICE = "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM", "MPIR_CVAR_ALLREDUCE_DEVICE_COLLECTIVE"


def test_what_ranks_have_in_force_is_read_back(tmp_path: pathlib.Path) -> None:
    env = {ALGORITHM: "recursive_doubling", DEVICE: "0", "MPIR_CVAR_NO_SUCH": "1"}
    document = SweepDocument(
        backend="mpi", library="MPICH", nranks=2, nnodes=1, launches=3, seed=1, cells=(),
        choice=Choice(verdict=Verdict.CHANGE, env=env, table=(ROW,), gain=Ratio(ratio=1.1, low=1.05, high=1.2)),
        cost=Cost(measured_s=1.0, exhaustive_s=2.0),
    )  # fmt: skip
    (tmp_path / "sweep.json").write_bytes(msgspec.json.encode(document))
    arguments = ["env", "check", str(tmp_path / "sweep.json"), "--json"]
    ended = CliRunner().invoke(group, arguments, standalone_mode=False)
    found = json.loads(ended.stdout)
    assert ended.return_value == 3
    assert found["nranks"] == 2
    assert {one["name"]: (one["seen"], one["in_force"]) for one in found["variables"]} == {
        ALGORITHM: (["recursive_doubling"] * 2, True),
        DEVICE: (["0"] * 2, True),
        "MPIR_CVAR_NO_SUCH": ([None] * 2, False),
    }
    assert [finding["code"] for finding in found["findings"]] == ["variable-not-in-force"]
