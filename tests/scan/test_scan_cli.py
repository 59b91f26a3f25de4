"""``ncclprobe scan`` from end to end: what it prints, writes and exits with."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import jsonschema
import pytest
from scan_records import told_of

from ncclprobe.cli.schema import document_schema
from ncclprobe.errors import UsageError
from ncclprobe.scan.check import judged
from ncclprobe.scan.source import host_of_file, read_source

DATA = pathlib.Path(__file__).parents[2] / "data"
FLEET, GREP = DATA / "fleet_dgx_12hca", DATA / "fleet_dgx_12hca_grep"
TEN = "=mlx5_0,mlx5_1,mlx5_3,mlx5_4,mlx5_5,mlx5_6,mlx5_7,mlx5_9,mlx5_10,mlx5_11"


def ncclprobe(*arguments: object, cwd: pathlib.Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ncclprobe", "scan", *map(str, arguments)]
    root = str(pathlib.Path(__file__).parents[2])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NCCL_", "SLURM_"))}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=60, env=environment | {"PYTHONPATH": root} | env
    )


def scanned(*arguments: object, cwd: pathlib.Path) -> dict[str, object]:
    done = ncclprobe(*arguments, "--json", cwd=cwd)
    assert done.returncode in (0, 3), done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("scan"))
    return document


def value_of(document: dict[str, object], name: str = "NCCL_IB_HCA") -> str | None:
    return next((one["value"] for one in document["env"] if one["name"] == name), None)  # type: ignore[index, attr-defined]


# ---- this machine


def test_this_machine(tmp_path: pathlib.Path) -> None:
    document = scanned(cwd=tmp_path)
    assert document["schema"] == "ncclprobe.scan/1"
    assert [one["host"] for one in document["hosts"]] == [os.uname().nodename]  # type: ignore[attr-defined]
    (directory,) = (tmp_path / "ncclprobe-runs").iterdir()
    assert directory.name.endswith("-scan")
    assert json.loads((directory / "document.json").read_text()) == document
    assert json.loads((directory / "manifest.json").read_text())["command"] == "scan"
    again = scanned("--from", directory, cwd=tmp_path)
    assert again["hosts"] == document["hosts"]


def test_out_says_where_or_nowhere(tmp_path: pathlib.Path) -> None:
    assert ncclprobe("--out", "-", cwd=tmp_path).returncode == 0
    assert list(tmp_path.iterdir()) == []
    done = ncclprobe("--out", "run", "--from", GREP, "--seed", "5", cwd=tmp_path)
    assert "Run directory: run" in done.stdout
    assert json.loads((tmp_path / "run/manifest.json").read_text())["seed"] == 5


def test_reading_files_writes_nothing(tmp_path: pathlib.Path) -> None:
    ncclprobe("--from", GREP, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


# ---- captured outputs


@pytest.mark.parametrize("source", [FLEET / "dgx001/ibv_devinfo.txt", FLEET / "dgx001", GREP, GREP / "dgx001.txt"])
def test_twelve_hcas_of_which_two_are_ethernet(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    document = scanned("--from", source, cwd=tmp_path)
    assert value_of(document) == TEN
    assert "ethernet-among-infiniband" in {one["code"] for one in document["findings"]}  # type: ignore[attr-defined]


def test_a_fleet_in_which_one_node_has_lost_a_rail(tmp_path: pathlib.Path) -> None:
    done = ncclprobe("--from", FLEET, cwd=tmp_path)
    assert done.returncode == 3
    assert f"export NCCL_IB_HCA='{TEN.replace('mlx5_5,', '')}'\n" in done.stdout
    assert "error port-down (dgx002/mlx5_5): DOWN (POLLING), while it is ACTIVE on dgx001" in done.stdout
    assert "error gpu-hca-inactive (dgx002/GPU3)" in done.stdout
    assert all(len(line) <= 80 or line.startswith("export ") for line in done.stdout.splitlines())


def test_a_folder_gives_each_subfolder_its_name_and_merges_its_files(tmp_path: pathlib.Path) -> None:
    hosts = read_source(FLEET).hosts
    assert [host.host for host in hosts] == ["dgx001", "dgx002"]
    assert [(len(host.hcas), len(host.gpus)) for host in hosts] == [(12, 8), (12, 8)]
    assert hosts[0].gpus[5].nearest_hcas == ("mlx5_9",)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("dgx001.txt", "dgx001"),
        ("dgx001.topo.txt", "dgx001"),
        ("dgx001_ibv_devinfo.txt", "dgx001"),
        ("ibstat-dgx001.log", "dgx001"),
        ("dgx001.cluster.local.txt", "dgx001.cluster.local"),
        ("ibv_devinfo.txt", None),
        ("nvidia-smi-topo.txt", None),
        ("ibv_devinfo_v.txt", None),
        ("topo", None),
        ("scout1.txt", "scout1"),
    ],
)
def test_host_of_file(name: str, host: str | None) -> None:
    assert host_of_file(name) == host


def test_files_of_a_folder_are_a_host_each_or_one_hosts(tmp_path: pathlib.Path) -> None:
    for name in ("dgx001", "dgx002"):
        shutil.copy(FLEET / name / "ibv_devinfo.txt", tmp_path / f"{name}.ibv_devinfo.txt")
        shutil.copy(FLEET / name / "topo.txt", tmp_path / f"{name}.topo.txt")
    assert [(host.host, len(host.gpus)) for host in read_source(tmp_path).hosts] == [("dgx001", 8), ("dgx002", 8)]
    assert [(host.host, len(host.gpus)) for host in read_source(FLEET / "dgx001").hosts] == [(None, 8)]


def test_documents_of_scans_make_a_fleet(tmp_path: pathlib.Path) -> None:
    for name in ("dgx001", "dgx002"):
        text = json.dumps(scanned("--from", FLEET / name, cwd=tmp_path))
        (tmp_path / f"{name}.json").write_text(text)
    document = scanned("--from", tmp_path, cwd=tmp_path)
    assert value_of(document) == TEN.replace("mlx5_5,", "")
    assert [one["host"] for one in document["hosts"]] == ["dgx001", "dgx002"]  # type: ignore[attr-defined]


def test_a_file_that_is_no_output_hides_nothing_of_the_others(tmp_path: pathlib.Path) -> None:
    shutil.copytree(FLEET, tmp_path / "fleet")
    (tmp_path / "fleet/dgx001/notes.txt").write_text("called the vendor\n")
    document = scanned("--from", tmp_path / "fleet", cwd=tmp_path)
    assert value_of(document) == TEN.replace("mlx5_5,", "")
    assert "unrecognised-input" in {one["code"] for one in document["findings"]}  # type: ignore[attr-defined]


# ---- errors


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--from", "nowhere"], 2, "nowhere"),
        (["--from", "empty"], 2, "holds no file"),
        (["--from", "notes.txt"], 1, "notes.txt"),
        (["--from", "notes.txt", "--hosts", "a"], 2, "--hosts"),
        (["--from", "notes.txt", "--timeout", "3"], 2, "--timeout"),
        (["--launcher", "ssh"], 2, "--hosts"),
        (["--hosts", "n[1-"], 2, "n[1-"),
        (["--hosts", "n1", "--launcher", "srun", "--ssh", "ssh"], 2, "exclude"),
        (["--hosts", "n1", "--ssh", "'"], 2, "quote"),
        (["--hosts", "n1", "--ssh", "no-such-program"], 1, "no-such-program"),
        (["--from", "bad.json"], 1, "bad.json"),
        (["--from", "packed.gz"], 1, "compressed"),
        (["--from", "long.txt"], 1, "long.txt"),
        (["--from", "noise.bin"], 1, "noise.bin"),
        (["--from", "nothing.txt"], 1, "nothing.txt"),
    ],
)
def test_errors_are_one_message(arguments: list[str], status: int, words: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("called the vendor\n")
    (tmp_path / "bad.json").write_text('{"schema": "ncclprobe.scan/1", "hosts": 7}')
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"hca_id: mlx5_0\n"))
    (tmp_path / "long.txt").write_text("GPU0 " * 2_000_000)
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)) * 400)
    (tmp_path / "nothing.txt").touch()
    done = ncclprobe(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_hosts_over_a_stand_in_for_ssh(tmp_path: pathlib.Path) -> None:
    ssh = tmp_path / "rsh"
    ssh.write_text(
        '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\n[ "$1" = n3 ] && exit 255\nshift; exec sh -c "$*"\n'
    )
    ssh.chmod(0o755)
    remote = f"env -C {tmp_path} {sys.executable} -m ncclprobe"
    done = ncclprobe("--hosts", "n[1-3]", "--ssh", ssh, "--remote-command", remote, "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert done.returncode == 3
    assert [one["host"] for one in document["hosts"]] == ["n1", "n2"]
    assert ("error", "host-unreachable", "n3") in {
        (one["severity"], one["code"], one["subject"]) for one in document["findings"]
    }
    assert "2 of 3 hosts scanned over ssh" in done.stderr


def test_nothing_heavy_is_imported_to_read_files() -> None:
    code = "import sys, ncclprobe.cli.scan; print({'numpy', 'pynvml', 'mpi4py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_hung_tool_does_not_hang_the_scan(tmp_path: pathlib.Path) -> None:
    tool = tmp_path / "bin/ibv_devinfo"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nsleep 60\n")
    tool.chmod(0o755)
    done = ncclprobe(
        "--timeout", "0.5", "--json", "--out", "-", cwd=tmp_path, PATH=f"{tool.parent}:{os.environ['PATH']}"
    )
    assert done.returncode == 0
    assert "ibv-devinfo-failed" in {one["code"] for one in json.loads(done.stdout)["findings"]}


def test_usage_errors_are_usage_errors(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError):
        read_source(tmp_path)


def test_labelled_outputs_of_several_hosts_merge_by_name(tmp_path: pathlib.Path) -> None:
    for tool in ("ibv_devinfo", "topo"):
        lines = [
            f"{name}: {line}"
            for name in ("dgx001", "dgx002")
            for line in (FLEET / name / f"{tool}.txt").read_text().splitlines(keepends=True)
        ]
        (tmp_path / ("all.txt" if tool == "topo" else "ibv_devinfo.txt")).write_text("".join(lines))
    hosts = read_source(tmp_path).hosts
    assert [(host.host, len(host.hcas), len(host.gpus)) for host in hosts] == [("dgx001", 12, 8), ("dgx002", 12, 8)]


def test_a_large_fleet_is_judged_in_seconds() -> None:
    first, second = read_source(FLEET).hosts
    hosts = [first.with_(host=f"n{number:04d}") for number in range(999)]
    started = time.monotonic()
    document = judged([*hosts, second.with_(host="n0999")])
    assert time.monotonic() - started < 10
    assert ("error", "port-down", "n0999/mlx5_5") in told_of(document.findings)
    assert "ACTIVE on n[0000-0998]" in next(one.message for one in document.findings if one.code == "port-down")
