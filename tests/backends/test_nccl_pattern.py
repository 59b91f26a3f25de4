"""The data's bounds and hashes, and the kernels themselves, compiled for the CPU and called through ctypes."""

from __future__ import annotations

import ctypes
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncclprobe.backends.geometry import ITEM_BYTES, Geometry, geometry
from ncclprobe.backends.nccl_pattern import EXACT, base, bounds, check_of, kernels, weight
from ncclprobe.records.sweep import Point

SHIM = """
#include <cstring>
#define __device__ static
#define __global__
struct Index { unsigned x, y; };
static Index blockIdx, blockDim = {1, 1}, threadIdx = {0, 0}, gridDim = {1, 1};
static unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
static long long __double_as_longlong(double d) { long long u; memcpy(&u, &d, 8); return u; }
static void atomicAdd(unsigned long long* p, unsigned long long v) { *p += v; }
extern "C" void set_slot(unsigned slot) { blockIdx.y = slot; }
"""
DTYPES = list(EXACT)
STRIDE = 512


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ctypes.CDLL]:
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    assert compiler is not None, "the tests need a C++ compiler: apt-get install g++"
    folder = tmp_path_factory.mktemp("kernels")
    libraries = {}
    for dtype in DTYPES:
        source, library = folder / f"{dtype}.cpp", folder / f"{dtype}.so"
        source.write_text(SHIM + kernels(dtype))
        subprocess.run([compiler, "-O1", "-Wall", "-Wno-unused", "-shared", "-fPIC", "-o", library, source], check=True)
        libraries[dtype] = ctypes.CDLL(str(library))
    return libraries


def _values(buffer: np.ndarray, dtype: str) -> np.ndarray:
    """Return a buffer's elements as numbers."""
    if dtype == "bfloat16":
        return (buffer.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype == "float8e5m2":
        return (buffer.view(np.uint8).astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if dtype == "float8e4m3":
        bits = buffer.view(np.uint8).astype(np.int32)
        exponent, mantissa = bits >> 3 & 15, bits & 7
        return np.where(exponent > 0, (1 + mantissa / 8) * 2.0 ** (exponent - 7), mantissa / 8 * 2.0**-6)
    return buffer.view(dtype).astype(np.float64)


def _filled(
    library: ctypes.CDLL, dtype: str, shape: Geometry, rank: int, nranks: int, salt: int, slot: int
) -> np.ndarray:
    limits = bounds(dtype, nranks, summed=_summed(shape))
    arena = np.full(4096, 0xFF, np.uint8)
    library.set_slot(slot)
    library.fill(
        ctypes.c_void_p(arena.ctypes.data), ctypes.c_uint64(STRIDE), ctypes.c_uint64(shape.send.count),
        ctypes.c_uint64(shape.send.start), ctypes.c_uint32(weight(rank, salt, nranks, limits)), ctypes.c_uint32(salt),
        ctypes.c_uint32(limits.base),
    )  # fmt: skip
    return arena[slot * STRIDE : slot * STRIDE + shape.send.count * ITEM_BYTES[dtype]]


def _summed(shape: Geometry) -> bool:
    return len(shape.receive[0].sources) > 1


def _wrong(
    library: ctypes.CDLL, dtype: str, shape: Geometry, got: np.ndarray, nranks: int, salt: int, slot: int
) -> int:
    limits = bounds(dtype, nranks, summed=_summed(shape))
    expected = check_of(shape, salt, nranks, limits)
    arena = np.zeros(4096, np.uint8)
    arena[slot * STRIDE : slot * STRIDE + got.nbytes] = got.view(np.uint8)
    weights, wrong = np.array(expected.weights, np.uint32), ctypes.c_uint64(0)
    library.set_slot(slot)
    library.check(
        ctypes.c_void_p(arena.ctypes.data), ctypes.c_uint64(STRIDE), ctypes.c_uint64(expected.count),
        ctypes.c_uint64(expected.start), ctypes.c_uint64(expected.step), ctypes.c_uint32(expected.spans),
        ctypes.c_void_p(weights.ctypes.data), ctypes.c_uint32(salt), ctypes.c_uint32(limits.base), ctypes.byref(wrong),
    )  # fmt: skip
    return wrong.value


def _encoded(numbers: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (numbers.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "float8e5m2":
        return (numbers.astype(np.float16).view(np.uint16) >> 8).astype(np.uint8)
    if dtype == "float8e4m3":
        table = {float(v): b for b in range(127) for v in [_values(np.array([b], np.uint8), dtype)[0]]}
        return np.array([table[float(number)] for number in numbers], np.uint8)
    return numbers.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "collective", ["all_reduce", "all_gather", "reduce_scatter", "broadcast", "alltoall", "sendrecv"]
)
@pytest.mark.parametrize("nranks", [2, 3])
def test_right_results_pass_and_wrong_ones_do_not(
    built: dict[str, ctypes.CDLL], dtype: str, collective: str, nranks: int
) -> None:
    point = Point(collective=collective, dtype=dtype, size_bytes=24 * nranks * ITEM_BYTES[dtype])
    shapes = [geometry(point, rank, nranks) for rank in range(nranks)]
    salt, slot, rank = 4_000_000_123, 3, nranks - 1
    sent = [_values(_filled(built[dtype], dtype, s, r, nranks, salt, slot), dtype) for r, s in enumerate(shapes)]
    pieces = []
    for span in shapes[rank].receive:
        parts = [sent[r][span.start - shapes[r].send.start :][: span.count] for r in span.sources]
        pieces.append(np.sum(parts, axis=0))
    right = _encoded(np.concatenate(pieces), dtype)
    assert _wrong(built[dtype], dtype, shapes[rank], right, nranks, salt, slot) == 0
    broken = right.copy()
    broken[5] = broken[5] + 1
    assert _wrong(built[dtype], dtype, shapes[rank], broken, nranks, salt, slot) == 1
    assert _wrong(built[dtype], dtype, shapes[rank], right, nranks, salt + 1, slot) > 0
    assert _wrong(built[dtype], dtype, shapes[rank], np.full_like(right, 255), nranks, salt, slot) == len(right)


def test_the_kernels_hash_as_we_do(built: dict[str, ctypes.CDLL]) -> None:
    shape = geometry(Point(collective="all_reduce", dtype="float32", size_bytes=256), 1, 2)
    limits = bounds("float32", 2, summed=True)
    got = _values(_filled(built["float32"], "float32", shape, 1, 2, 77, 2), "float32")
    expected = [weight(1, 77, 2, limits) * base(index, 2, 77, limits) for index in range(64)]
    assert got.tolist() == expected
    assert len(set(expected)) > 20


@given(st.sampled_from(DTYPES), st.integers(2, 4096), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_every_sum_is_exact_and_somebody_contributes(dtype: str, nranks: int, salt: int) -> None:
    limits = bounds(dtype, nranks, summed=True)
    weights = [weight(rank, salt, nranks, limits) for rank in range(nranks)]
    assert limits.base >= 2
    assert 0 < sum(weights) * limits.base <= EXACT[dtype]
    assert sum(map(bool, weights)) == limits.contributing


def test_every_rank_contributes_in_its_turn() -> None:
    limits = bounds("bfloat16", 100, summed=True)
    seen = {rank for salt in range(100) for rank in range(100) if weight(rank, salt, 100, limits)}
    assert seen == set(range(100))


def test_copies_carry_every_ranks_own() -> None:
    limits = bounds("bfloat16", 1000, summed=False)
    assert all(weight(rank, 5, 1000, limits) for rank in range(1000))
    assert limits.weight * limits.base <= EXACT["bfloat16"]


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
@pytest.mark.parametrize("dtype", ["float16"])
def test_cuda_takes_the_kernels(dtype: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "k.cu").write_text(kernels(dtype))
    subprocess.run(["nvcc", "-arch=sm_90", "-ptx", "-o", tmp_path / "k.ptx", tmp_path / "k.cu"], check=True)
    assert ".entry check" in (tmp_path / "k.ptx").read_text()
