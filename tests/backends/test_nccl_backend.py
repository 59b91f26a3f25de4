"""What the controller of the backend ``nccl`` does without any GPU; the binding is one that tests write."""

from __future__ import annotations

import pathlib
import sys
import types
from typing import Any

import msgspec
import pytest

from ncclprobe.backends import nccl as backend_module
from ncclprobe.backends.base import BackendOptions, GpuOptions
from ncclprobe.backends.nccl import NcclBackend, check, default_ranks, doubts
from ncclprobe.backends.nccl_library import Nccl, Watchdog
from ncclprobe.backends.nccl_settings import NODES_VARIABLE, RankSettings
from ncclprobe.errors import BackendError, MissingDependencyError, UsageError
from ncclprobe.names import Collective
from ncclprobe.records.sweep import DEFAULT_CELL, Block, Cell, Launch, Point

POINT = Point(collective="all_reduce", dtype="float32", size_bytes=1024)


class NCCLError(Exception):
    pass


class Bindings(types.ModuleType):
    """nccl4py's thin layer, as far as it is used; ``calls`` has what was called."""

    def __init__(self) -> None:
        super().__init__("nccl.bindings.nccl")
        self.NCCLError = NCCLError
        self.calls: list[tuple[Any, ...]] = []
        self.result: int = 0

    def get_version(self) -> int:
        return 22809

    def get_unique_id(self) -> memoryview:
        return memoryview(b"u" * 128)

    def Config(self) -> types.SimpleNamespace:  # noqa: N802, as the binding has it
        return types.SimpleNamespace(ptr=99, min_ctas=None)

    def comm_init_rank_config(self, nranks: int, unique_id: bytearray, rank: int, config: int) -> str:
        self.calls.append(("init", nranks, bytes(unique_id), rank, config))
        self._answer()
        return "comm"

    def comm_get_async_error(self, comm: str) -> int:
        return self.result

    def get_error_string(self, code: int) -> str:
        return f"words of {code}"

    def get_last_error(self, comm: str) -> str:
        return " last words "

    def _answer(self) -> None:
        if self.result in (1, 5):
            raise NCCLError(f"InvalidUsage ({self.result})")
        if self.result > 9:
            raise ValueError(f"{self.result} is not a valid Result")

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> None:
            self.calls.append((name, *arguments))
            self._answer()

        return call


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> Bindings:
    module, package, top = Bindings(), types.ModuleType("nccl.bindings"), types.ModuleType("nccl")
    package.nccl = module  # type: ignore[attr-defined]
    top.bindings = package  # type: ignore[attr-defined]
    for name, one in (("nccl", top), ("nccl.bindings", package), ("nccl.bindings.nccl", module)):
        monkeypatch.setitem(sys.modules, name, one)
    monkeypatch.setattr(backend_module, "gpu_count", lambda: 2)
    return module


# ---- the library


def test_the_binding_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nccl.bindings", None)
    with pytest.raises(MissingDependencyError, match=r"needs nccl4py .*pip install 'ncclprobe\[cuda13\]'"):
        Nccl()


def test_a_communicator_with_more_channels(bindings: Bindings) -> None:
    library = Nccl()
    assert library.name == "NCCL 2.28.9"
    communicator = library.communicator(library.unique_id(), 1, 2, min_channels=32)
    assert bindings.calls == [("init", 2, b"u" * 128, 1, 99)]
    assert communicator.failure() == ""


@pytest.mark.parametrize(
    ("result", "words"),
    [(5, r"ncclCommInitRankConfig failed: InvalidUsage \(5\)"), (11, "does not know: 11 is not a valid Result")],
)
def test_every_result_code_becomes_ours(bindings: Bindings, result: int, words: str) -> None:
    bindings.result = result
    with pytest.raises(BackendError, match=words):
        Nccl().communicator(b"u" * 128, 0, 2, min_channels=None)


def test_failures_behind_operations(bindings: Bindings) -> None:
    communicator = Nccl().communicator(b"u" * 128, 0, 2, min_channels=None)
    bindings.result = 6
    assert communicator.failure() == "words of 6 (result 6)"
    bindings.result = 7  # in progress
    assert communicator.failure() == ""
    bindings.result = 0
    communicator.abort()
    communicator.abort()
    assert bindings.calls[1:] == [("comm_abort", "comm")]
    assert communicator.failure() == "the communicator was aborted"


def test_an_operations_error_has_nccls_last_words(bindings: Bindings) -> None:
    communicator = Nccl().communicator(b"u" * 128, 0, 2, min_channels=None)
    bindings.result = 5
    enqueue = communicator.operation(Collective.ALL_REDUCE, 10, 20, 3, "bfloat16", 77)
    with pytest.raises(BackendError, match=r"Tree/LL failed: InvalidUsage \(5\): last words$"), \
            communicator.translated("Tree/LL"):  # fmt: skip
        enqueue()


@pytest.mark.parametrize(
    ("collective", "calls"),
    [
        (Collective.ALL_REDUCE, [("all_reduce", 10, 20, 3, 9, 0, "comm", 77)]),
        (Collective.REDUCE_SCATTER, [("reduce_scatter", 10, 20, 3, 9, 0, "comm", 77)]),
        (Collective.ALL_GATHER, [("all_gather", 10, 20, 3, 9, "comm", 77)]),
        (Collective.BROADCAST, [("broadcast", 10, 20, 3, 9, 0, "comm", 77)]),
        (Collective.ALLTOALL, [("allto_all", 10, 20, 3, 9, "comm", 77)]),
        (
            Collective.SENDRECV,
            [("group_start",), ("send", 10, 3, 9, 2, "comm", 77), ("recv", 20, 3, 9, 0, "comm", 77), ("group_end",)],
        ),
    ],
)
def test_operations_are_nccls_calls(bindings: Bindings, collective: Collective, calls: list[tuple[Any, ...]]) -> None:
    communicator = Nccl().communicator(b"u" * 128, 1, 3, min_channels=None)
    communicator.operation(collective, 10, 20, 3, "bfloat16", 77)()
    assert bindings.calls[1:] == calls


def test_alltoall_before_nccl_had_it(bindings: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "get_version", lambda: 22707)
    communicator = Nccl().communicator(b"u" * 128, 1, 2, min_channels=None)
    communicator.operation(Collective.ALLTOALL, 1000, 2000, 3, "float32", 77)()
    assert bindings.calls[2:-1] == [
        ("send", 1000, 3, 7, 0, "comm", 77), ("recv", 2000, 3, 7, 0, "comm", 77),
        ("send", 1012, 3, 7, 1, "comm", 77), ("recv", 2012, 3, 7, 1, "comm", 77),
    ]  # fmt: skip


def test_the_watchdog_ends_what_is_stuck() -> None:
    import threading

    ended = threading.Event()
    watchdog = Watchdog(ended.set)
    with watchdog.limit(30):
        pass
    assert not watchdog.passed
    with watchdog.limit(0.1):
        assert ended.wait(5)
    assert watchdog.passed


# ---- the controller


def test_what_it_can_run(bindings: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    found = NcclBackend(BackendOptions(channels=(8,))).capabilities(Collective.ALL_REDUCE)
    assert (found.library, found.nranks, found.nnodes, len(found.cells)) == ("NCCL 2.28.9", 2, 1, 12)
    assert found.findings == ()


def test_what_it_does_not_run(bindings: Bindings) -> None:
    with pytest.raises(UsageError, match="does not run reduce; choose from broadcast, all_gather"):
        NcclBackend(BackendOptions()).capabilities(Collective.REDUCE)
    with pytest.raises(UsageError, match="NCCL has no alltoall in place"):
        NcclBackend(BackendOptions(gpu=GpuOptions(in_place=True))).capabilities(Collective.ALLTOALL)
    with pytest.raises(UsageError, match="use --backend sim"):
        NcclBackend(BackendOptions(fabric=pathlib.Path("x.toml")))


def test_two_ranks_on_one_gpu_say_what_they_are(bindings: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "gpu_count", lambda: 1)
    found = NcclBackend(BackendOptions(nranks=2)).capabilities(Collective.ALL_REDUCE)
    assert [finding.code for finding in found.findings] == ["functional-only"]
    assert found.findings[0].message.startswith("2 ranks share 1 GPU, as nodes of their own")
    assert found.nnodes == 2
    with pytest.raises(UsageError, match="needs two GPUs, and there is one; --nranks 2 tries"):
        NcclBackend(BackendOptions()).capabilities(Collective.ALL_REDUCE)


@pytest.mark.parametrize(
    ("options", "gpus", "environment", "nranks"),
    [
        (BackendOptions(), 8, {}, 8),
        (BackendOptions(hosts=("a", "b")), 8, {}, 16),
        (BackendOptions(launcher="srun"), 8, {"SLURM_NTASKS": "32"}, 32),
        (BackendOptions(launcher="srun", hosts=("a", "b")), 8, {"SLURM_NTASKS": "2"}, 16),
        (BackendOptions(), 8, {"SLURM_NTASKS": "32"}, 8),
    ],
)
def test_a_rank_a_gpu(options: BackendOptions, gpus: int, environment: dict[str, str], nranks: int) -> None:
    assert default_ranks(options, gpus, environment) == nranks


def test_no_gpu() -> None:
    with pytest.raises(UsageError, match="there is none; check nvidia-smi"):
        default_ranks(BackendOptions(), 0, {})


@pytest.mark.parametrize(
    ("dtype", "size", "version", "message"),
    [
        ("int9", 8, 22809, "does not run int9; choose from float16, float32"),
        ("float8e4m3", 8, 22203, "sums float8e4m3 from its version 2.24 on"),
        ("float32", 2, 22809, "2 bytes hold no float32 element"),
    ],
)
def test_points_that_cannot_be_run(dtype: str, size: int, version: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check(POINT.with_(dtype=dtype, size_bytes=size), 2, version)


@pytest.mark.parametrize(
    ("environment", "codes"),
    [
        ({}, []),
        ({"NCCL_TUNER_PLUGIN": "none"}, []),
        ({"NCCL_TUNER_PLUGIN": "/opt/site.so"}, ["tuner-plugin-replaced"]),
        ({"NCCL_NET_PLUGIN": "/opt/amazon/ofi-nccl/lib/libnccl-net-ofi.so"}, ["tuner-plugin-replaced"]),
        ({"NCCL_NET_PLUGIN": "libnccl-net-other.so"}, []),
        ({"NCCL_ALGO": "Ring", "NCCL_PROTO": "LL"}, ["choice-masked", "choice-masked"]),
        ({NODES_VARIABLE: "2"}, ["pretended-nodes"]),
    ],
)
def test_what_is_said_beforehand(environment: dict[str, str], codes: list[str]) -> None:
    assert [finding.code for finding in doubts(environment, 2, 2, BackendOptions())] == codes


def test_ranks_are_told_all_they_need(bindings: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    monkeypatch.setenv("NCCL_TUNER_PLUGIN", "/site.so")
    backend = NcclBackend(BackendOptions(gpu=GpuOptions(mode="graph")))
    monkeypatch.setattr(backend, "_plugin", "/ours.so")
    cells = (DEFAULT_CELL, Cell(algo="Tree", proto="LL"), Cell(algo="Ring", proto="LL", nchannels=32))
    launch = Launch(
        index=0, stage="explore", nranks=2, blocks=(Block(point=POINT, cells=cells),), warmups=1, timeout_s=4, seed=1,
        env=(("NCCL_NTHREADS", "256"),),
    )  # fmt: skip
    job = backend._job(launch)
    assert job.program[1:4] == ("-m", "ncclprobe.sweep.worker", "nccl")
    settings = msgspec.json.decode(job.program[4], type=RankSettings)
    assert settings == RankSettings(timeout_s=4, plugin="/ours.so", most_channels=32, gpu=GpuOptions(mode="graph"))
    env = dict(job.env)
    assert (env["NCCL_TUNER_PLUGIN"], env["NCCL_NVLS_ENABLE"], env["NCCL_NTHREADS"]) == ("/ours.so", "0", "256")
