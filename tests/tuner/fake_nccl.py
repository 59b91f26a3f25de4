"""NCCL's part: each version's function table, and what it does with the answer."""

from __future__ import annotations

import ctypes
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

from ncclprobe.names import Algo, Collective, Proto

VERSIONS = (2, 3, 4, 5, 6)
NO = -1.0
Cost = tuple[Algo, Proto]

_INT = ctypes.POINTER(ctypes.c_int)
_OUT = ctypes.POINTER(ctypes.c_void_p)
_FUNCTION, _I, _P, _N = ctypes.CFUNCTYPE, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
_LOG = _FUNCTION(None, _I, ctypes.c_ulong, ctypes.c_char_p, _I, ctypes.c_char_p, ctypes.c_char_p)
_INIT_2 = _FUNCTION(_I, _N, _N, _P, _OUT)
_INIT_5 = _FUNCTION(_I, _OUT, ctypes.c_uint64, _N, _N, _P, _P, _P)
_CHOOSE_2 = _FUNCTION(_I, _P, _I, _N, _I, _I, _I, _INT, _INT, _INT)
_CHOOSE_3 = _FUNCTION(_I, _P, _I, _N, _I, _P, _I, _I, _INT)
_CHOOSE_4 = _FUNCTION(_I, _P, _I, _N, _I, _P, _I, _I, _I, _INT)
_END = _FUNCTION(_I, _P)


def _table(init: object, choose: object, *more: tuple[str, object]) -> type[ctypes.Structure]:
    fields = [("name", ctypes.c_char_p), ("init", init), ("choose", choose), ("end", _END), *more]
    return type("Table", (ctypes.Structure,), {"_fields_": fields})


_TABLES = {
    2: _table(_INIT_2, _CHOOSE_2),
    3: _table(_INIT_2, _CHOOSE_3),
    4: _table(_INIT_2, _CHOOSE_4),
    5: _table(_INIT_5, _CHOOSE_4),
    6: _table(_INIT_5, _CHOOSE_4, ("chunk_size", _P)),
}


class Ran(NamedTuple):
    """What NCCL does after asking; None where the choice is left to it (v2)."""

    algo: Algo | None
    proto: Proto | None
    nchannels: int
    """0: its own."""


class Logged(NamedTuple):
    level: int
    text: str


ALL_REDUCE_COSTS: dict[Cost, float] = {
    (Algo.TREE, Proto.LL): 6.5, (Algo.TREE, Proto.LL128): 14.5, (Algo.TREE, Proto.SIMPLE): 13.0,
    (Algo.RING, Proto.LL): 7.0, (Algo.RING, Proto.LL128): 15.0, (Algo.RING, Proto.SIMPLE): 12.0,
}  # fmt: skip
"""What NCCL predicts in µs on one node without NVLS; its own choice is Tree/LL."""


class FakeNccl:
    """One communicator."""

    def __init__(
        self, path: pathlib.Path, api: int, *, nranks: int = 8, nnodes: int = 1, algos: int = 7, logs: bool = True
    ) -> None:
        self.api, self.algos = api, algos
        self.logged: list[Logged] = []
        self.asked_costs: list[float] = []
        self.left_costs: list[float] = []
        library = ctypes.CDLL(str(path))
        self.table = _TABLES[api].in_dll(library, f"ncclTunerPlugin_v{api}")
        self._log = _LOG(lambda level, _flags, _file, _line, form, text: self._note(level, form, text))
        self._context = ctypes.c_void_p()
        log = ctypes.cast(self._log, ctypes.c_void_p) if logs else None
        if api < 5:
            result = self.table.init(nranks, nnodes, log, ctypes.byref(self._context))
        else:
            domains, constants = (ctypes.c_int * 3)(nnodes, nranks, nranks), (ctypes.c_double * 256)()
            result = self.table.init(ctypes.byref(self._context), 0xABC, nranks, nnodes, log, domains, constants)
        assert result == 0

    def _note(self, level: int, form: bytes, text: bytes) -> None:
        assert form == b"ncclprobe tuner: %s"
        self.logged.append(Logged(level, text.decode()))

    def warnings(self) -> list[str]:
        return [line.text for line in self.logged if line.level == 2]

    def ask(
        self,
        collective: Collective | int = Collective.ALL_REDUCE,
        size: int = 1 << 20,
        costs: Mapping[Cost, float] = ALL_REDUCE_COSTS,
        *,
        collnet: int = 0,
        nvls: int = 0,
        operations: int = 1,
        registered: int = 0,
    ) -> Ran:
        """Ask as NCCL's enqueue does, and return what it would then run.

        Source: NCCL 2.21.5 and 2.28.9, src/enqueue.cc (``getTunerInfo``, ``ncclGetAlgoInfo``, ``topoGetAlgoInfo``)
        """
        number = collective.number if isinstance(collective, Collective) else collective
        nchannels = ctypes.c_int(0)
        if self.api == 2:
            return self._ask_blind(number, size, (collnet, nvls, operations), nchannels)
        self.asked_costs = [costs.get((a, p), NO) for a in list(Algo)[: self.algos] for p in Proto]
        self.asked_costs += [NO] * 3 * (self.algos - len(Algo))
        table = (ctypes.c_float * (self.algos * 3))(*self.asked_costs)
        self.asked_costs = list(table)
        arguments = [self._context, number, size, operations, table, self.algos, 3]
        registration = [registered] if self.api > 3 else []
        assert self.table.choose(*arguments, *registration, ctypes.byref(nchannels)) == 0
        self.left_costs = list(table)
        best, smallest = -1, 3.4e38
        for index, cost in enumerate(table):
            if cost != NO and 0.0 <= cost < smallest:
                best, smallest = index, cost
        algo, proto = (list(Algo)[best // 3], list(Proto)[best % 3]) if best >= 0 else (None, None)
        return Ran(algo, proto, nchannels.value)

    def _ask_blind(self, number: int, size: int, flags: tuple[int, int, int], nchannels: ctypes.c_int) -> Ran:
        algo, proto = ctypes.c_int(-1), ctypes.c_int(-1)
        places = map(ctypes.byref, (algo, proto, nchannels))
        assert self.table.choose(self._context, number, size, *flags, *places) == 0
        assert (algo.value < 0) == (proto.value < 0), "NCCL takes both or neither"
        if algo.value < 0:
            return Ran(None, None, nchannels.value)
        return Ran(list(Algo)[algo.value], list(Proto)[proto.value], nchannels.value)

    def close(self) -> None:
        assert self.table.end(self._context) == 0
