"""A table in force on real NCCL, by its log and the plugin's record; on one GPU, ranks are nodes on sockets."""

from __future__ import annotations

import json
import pathlib

import pytest

from ncclprobe.backends.nccl_library import gpu_count
from ncclprobe.cli import main

pytestmark = pytest.mark.gpu


def checked(
    table: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[int, str], list[dict[str, object]], list[str]]:
    """Return each row's outcome by its lower end, the rows, and the errors' messages."""
    (tmp_path / "table.csv").write_text(table)
    with pytest.raises(SystemExit) as ended:
        main(["env", "check", str(tmp_path / "table.csv"), "--nranks", "2", "--json"])
    document = json.loads(capsys.readouterr().out)
    errors = [one["message"] for one in document["findings"] if one["severity"] == "error"]
    assert ended.value.code == (3 if errors else 0)
    assert document["nnodes"] == (2 if gpu_count() == 1 else 1)
    return {one["row"]["min_bytes"]: one["outcome"] for one in document["rows"]}, document["rows"], errors


def test_rows_are_applied_within_and_nccl_decides_outside(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "allreduce,512,4096,ring,simple,-1,-1,2\nallreduce,65536,1048576,tree,simple,2,-1,2\n"
    outcomes, rows, errors = checked(table + "allgather,8192,65536,ring,ll,-1,-1,2\n", tmp_path, capsys)
    assert outcomes == {512: "applied", 65536: "applied", 8192: "applied"}
    assert errors == []
    for row in rows:
        sizes = {size["place"]: size for size in row["sizes"]}  # type: ignore[attr-defined]
        assert sizes["below"]["outcome"] == sizes["above"]["outcome"] == "left-alone"
        assert all(size["ran"] for size in sizes.values()), "NCCL's log said nothing"
        assert sizes["low"]["ran"].startswith(sizes["low"]["wanted"].removesuffix("/2ch"))


def test_what_nccl_does_not_have_and_what_is_for_others_is_an_error(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = "allreduce,512,4096,pat,simple,-1,-1,2\nallreduce,65536,65536,ring,ll,-1,7,2\n"
    outcomes, _, errors = checked(table, tmp_path, capsys)
    assert outcomes == {512: "refused", 65536: "other"}
    assert errors[0] == "At 512 and 4K PAT/Simple is to run, but NCCL says unavailable."
    assert errors[1].startswith("At 64K Ring/LL is to run, but the row is for 7 nodes, and NCCL saw these ranks on ")
