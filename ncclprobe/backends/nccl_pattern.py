"""Data that a wrong collective cannot pass, made and checked where they are: small integers from a hash. Pure.

Element g of rank r is ``base(g) * weight(r)``, integers drawn anew for every sample by hashing g, r, the sample's salt
and the buffer's number. Every partial sum fits the type's significand, so all sums are exact, whatever their order.
Types with few bits hold only a few ranks' integers: of more ranks, so many in a row contribute 0 in a sample, others
in the next (docs/performance.md has the bounds).

Source: IEEE 754 and OCP 8-bit Floating Point Specification 1.0 (significands); Appleby, MurmurHash3 (2011), ``fmix32``
"""

from __future__ import annotations

from ncclprobe.backends.geometry import ITEM_BYTES, Geometry
from ncclprobe.records.base import Record

EXACT = {
    "float64": 1 << 24, "float32": 1 << 24, "float16": 1 << 11, "bfloat16": 1 << 8, "float8e4m3": 1 << 4,
    "float8e5m2": 1 << 3,
}  # fmt: skip
"""Type -> the integer up to which it holds every integer; float64 is treated as float32."""
MOST_RANKS, MOST_WEIGHT, MOST_BASE = 32, 8, 251
"""That contribute in a sample; a rank's weight; an element's base, a prime."""
_MASK = 0xFFFFFFFF
_SLOT_STEP, _WEIGHT_STEP = 0x9E3779B9, 0x85EBCA6B


class Bounds(Record, frozen=True, kw_only=True):
    """How large the integers of a type may be."""

    contributing: int
    """Ranks whose weight is not 0."""
    weight: int
    """From 1."""
    base: int
    """From 1."""


def bounds(dtype: str, nranks: int, *, summed: bool) -> Bounds:
    """Return how large integers may be: contributing × weight × base fits the type's significand.

    Args:
        dtype: Of the elements.
        nranks: Ranks that take part.
        summed: Whether the collective adds them up; copies of all ranks carry integers.
    """
    exact = EXACT[dtype]
    contributing = max(1, min(nranks, MOST_RANKS, exact // 4)) if summed else nranks
    budget = exact // contributing if summed else exact
    weight = max(1, min(MOST_WEIGHT, budget // 4))
    return Bounds(contributing=contributing, weight=weight, base=min(MOST_BASE, budget // weight))


def mix(value: int) -> int:
    """Return MurmurHash3's finaliser of 32 bits; the kernels have the same one."""
    value &= _MASK
    value = ((value ^ value >> 16) * 0x85EBCA6B) & _MASK
    value = ((value ^ value >> 13) * 0xC2B2AE35) & _MASK
    return value ^ value >> 16


def weight(rank: int, salt: int, nranks: int, limits: Bounds) -> int:
    """Return a rank's weight in a sample, 0 for those that do not contribute."""
    if (rank + salt) % nranks >= limits.contributing:
        return 0
    return 1 + mix(salt * _WEIGHT_STEP + rank) % limits.weight


def base(index: int, slot: int, salt: int, limits: Bounds) -> int:
    """Return an element's base in a buffer of a sample."""
    return 1 + mix(mix(index) + (index >> 32) + salt + slot * _SLOT_STEP) % limits.base


class Check(Record, frozen=True, kw_only=True):
    """What a receive buffer must hold: spans of equal length, one after the other."""

    start: int
    """Index of the first element in the pattern that all ranks share."""
    count: int
    """Elements of a span."""
    step: int
    """From one span's first index to the next one's."""
    spans: int
    """Their number."""
    weights: tuple[int, ...]
    """Of each span: the sum over its sources."""


def check_of(shape: Geometry, salt: int, nranks: int, limits: Bounds) -> Check:
    """Return what a rank must hold after a sample."""
    first, *more = shape.receive
    return Check(
        start=first.start,
        count=first.count,
        step=more[0].start - first.start if more else 0,
        spans=len(shape.receive),
        weights=tuple(sum(weight(r, salt, nranks, limits) for r in span.sources) for span in shape.receive),
    )


KINDS = {"float64": 5, "float32": 0, "float16": 1, "bfloat16": 2, "float8e4m3": 3, "float8e5m2": 4}
"""Type -> its number in the kernels."""
_WORDS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}


def kernels(dtype: str) -> str:
    """Return CUDA C++ of ``fill`` and ``check`` for a type; it includes nothing, so that NVRTC alone compiles it.

    ``fill`` writes every slot of an arena, ``check`` counts elements whose bits are not the expected ones. Blocks are
    laid out over elements (x) and slots (y).
    """
    return f"typedef {_WORDS[ITEM_BYTES[dtype]]} word;\n#define KIND {KINDS[dtype]}\n{_CODE}"


_CODE = r"""
typedef unsigned int u32;
typedef unsigned long long u64;

__device__ u32 mix(u32 v) {
  v = (v ^ (v >> 16)) * 0x85EBCA6Bu;
  v = (v ^ (v >> 13)) * 0xC2B2AE35u;
  return v ^ (v >> 16);
}

__device__ u32 base(u64 index, u32 slot, u32 salt, u32 most) {
  return 1u + mix(mix((u32)index) + (u32)(index >> 32) + salt + slot * 0x9E3779B9u) % most;
}

__device__ word encode(u32 value) { /* an integer that the type holds exactly */
  u32 bits = __float_as_uint((float)value);
#if KIND == 0
  return bits;
#elif KIND == 1
  return value ? (word)(((bits >> 23) - 112u) << 10 | (bits >> 13 & 0x3FFu)) : 0;
#elif KIND == 2
  return (word)(bits >> 16);
#elif KIND == 3
  return value ? (word)(((bits >> 23) - 120u) << 3 | (bits >> 20 & 7u)) : 0;
#elif KIND == 4
  return value ? (word)(((bits >> 23) - 112u) << 2 | (bits >> 21 & 3u)) : 0;
#else
  return (word)__double_as_longlong((double)value);
#endif
}

extern "C" __global__ void fill(char* arena, u64 stride, u64 count, u64 start, u32 weight, u32 salt,
                                u32 most) {
  u32 slot = blockIdx.y;
  word* out = (word*)(arena + slot * stride);
  u64 step = (u64)gridDim.x * blockDim.x;
  for (u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x; i < count; i += step)
    out[i] = encode(weight * base(start + i, slot, salt, most));
}

extern "C" __global__ void check(const char* arena, u64 stride, u64 count, u64 start, u64 span_step, u32 spans,
                                 const u32* weights, u32 salt, u32 most, u64* wrong) {
  u32 slot = blockIdx.y;
  const word* got = (const word*)(arena + slot * stride);
  u64 step = (u64)gridDim.x * blockDim.x, bad = 0;
  for (u32 span = 0; span < spans; span++) {
    u32 weight = weights[span];
    u64 begin = start + span * span_step;
    const word* here = got + span * count;
    for (u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x; i < count; i += step)
      bad += here[i] != encode(weight * base(begin + i, slot, salt, most));
  }
  if (bad) atomicAdd(wrong, bad);
}
"""
