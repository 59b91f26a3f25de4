"""What NCCL's kernels are called.

A name proves the collective and the type alone: NCCL names a specialised kernel ``…_RING_LL`` for anything but Tree,
and always LL.

Source: NCCL 2.28.9, src/device/generate.py (kernel names), and 2.7 to 2.18, src/collectives/device/common.h.
"""

from __future__ import annotations

import re

from ncclprobe.names import Algo, Collective, Dtype

_NEW = re.compile(r"(?:void )?ncclDevKernel_([A-Za-z]+)(?:_(\w+))?")
_OLD = re.compile(r"(?:void )?ncclKernel_([A-Za-z]+)(?:_(\w+))?")
_OLDEST = re.compile(r"(?:void )?nccl(AllReduce|AllGather|ReduceScatter|Broadcast|Reduce|SendRecv)\w*Kernel_(\w+)")
_SYMMETRIC = re.compile(r"(?:void )?ncclSymk?(?:Dev)?(?:Kernel)?_([A-Za-z]+)(?:_(\w+))?")
_TYPE = re.compile(
    r"(?:^|_)(?:__nv_)?(bf16|f16|f32|f64|f8e4m3|f8e5m2|u8|u32|u64|i8|i32|i64|bfloat16|half|float|double|"
    r"u?int(?:8|32|64)_t|fp8_e4m3|fp8_e5m2)(?=_|$)"
)
_REDUCING = frozenset({Collective.ALL_REDUCE, Collective.REDUCE, Collective.REDUCE_SCATTER})


def nccl_kernel(name: str) -> tuple[str, str | None] | None:
    """Return the collective and the type that a kernel's name spells, None for a kernel of another library."""
    match = next((match for form in (_NEW, _OLD, _OLDEST, _SYMMETRIC) if (match := form.match(name))), None)
    if not match:
        return None
    known = Collective.parse(match[1])
    if known not in _REDUCING:
        return (known.value if known else match[1].lower()), None
    dtype = _TYPE.search(match[2] or "")
    return known.value, dtype[1].removesuffix("_t") if dtype else None


def kernel_algo(name: str) -> Algo | None:
    """Return the algorithm that a kernel's name proves: Tree, or None."""
    return Algo.TREE if "_TREE_" in name else None


_SHORT = {"half": "float16", "float": "float32", "double": "float64"}


def kernel_dtype(word: str | None) -> Dtype | None:
    """Return the type that a kernel's name spells as ``bf16``, ``f32`` or ``half``; None for none."""
    if word is None:
        return None
    spelled = word.removeprefix("__nv_").replace("fp8_", "f8")
    if match := re.fullmatch(r"(bf|f|i|u)(\d+)(e\dm\d)?", spelled):
        kind = {"bf": "bfloat", "f": "float", "i": "int", "u": "uint"}[match[1]]
        spelled = f"{kind}{match[2]}{match[3] or ''}"
    return Dtype.parse(_SHORT.get(spelled, spelled))
