"""The tuner plugin in this process, switched while communicators live.

NCCL and this module share the plugin's state because the dynamic linker keeps one copy of each file: both must open
the same inode, so open the very path that NCCL_TUNER_PLUGIN names, and keep it open. A wish counts from the next
operation on, in this process alone: every rank has to make the same one at the same place in its calls.

    tuner = LiveTuner(path)                    # before or after the first communicator
    generation = tuner.force(Cell(algo="Tree", proto="LL128", nchannels=8), Collective.ALL_REDUCE)
    ...                                        # enqueue, or capture
    refused = any(answer.refused for answer in tuner.answers(generation=generation))

Source: NCCL 2.28.9, src/plugin/plugin_open.cc (``dlopen``); dlopen(3)
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
from collections.abc import Callable
from typing import TypeVar

from ncclprobe.errors import BackendError, ParseError, UsageError
from ncclprobe.names import DEFAULT, Algo, Collective, Proto
from ncclprobe.records.base import Record
from ncclprobe.records.sweep import Cell
from ncclprobe.records.tuner import TUNED_COLLECTIVES, Answer, AnswerSource, PluginState, Refusal

ABI = 1
"""plugin.h, ``NCCLPROBE_ABI``."""
MAX_CHANNELS = 64
"""plugin.h, ``MAX_CHANNELS``."""
ROOM = 4096
"""Answers that the plugin keeps: plugin.c, ``ANSWERS``."""

_ERROR_BYTES = 512
_Name = TypeVar("_Name", Algo, Proto)


class _Answer(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("number", "generation", "comm_id", "bytes")),
        *(
            (name, ctypes.c_int32)
            for name in (
                "api", "collective", "nranks", "nnodes", "pipe_ops", "registered", "source", "refused",
                "wanted_algo", "wanted_proto", "wanted_channels", "algo", "proto", "channels",
            )
        ),
    ]  # fmt: skip


class _State(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("generation", "asked", "opened", "closed")),
        *((name, ctypes.c_int64) for name in ("table_rows", "recording")),
    ]


class LiveTuner:
    """The plugin that NCCL loads, or has loaded, from the same path."""

    def __init__(self, path: pathlib.Path) -> None:
        """Open it.

        Raises:
            BackendError: It is absent, cannot be loaded, or is of another version of ncclprobe.
        """
        self.path = path
        self._library = _opened(path)

    @property
    def state(self) -> PluginState:
        """Return how it stands; ``opened`` tells whether NCCL has loaded this very file."""
        state = _State()
        self._library.ncclprobe_state(ctypes.byref(state))
        return PluginState(
            generation=state.generation,
            asked=state.asked,
            opened=state.opened,
            closed=state.closed,
            table_rows=None if state.table_rows < 0 else state.table_rows,
            recording=bool(state.recording),
        )

    def force(self, cell: Cell, collective: Collective | None = None) -> int:
        """Make NCCL run a collective, or all of them, with a cell; return the wish's generation.

        What a cell leaves to the library stays NCCL's choice; the default cell releases that collective alone. A
        forced cell comes before a table. Where NCCL cannot run it, its own choice stands and the answer says why.

        Raises:
            UsageError: The cell names what NCCL does not have, or NCCL asks no tuner about the collective.
        """
        algo, proto = _number(Algo, cell.algo), _number(Proto, cell.proto)
        generation = self._library.ncclprobe_force(_collective(collective), algo, proto, _channels(cell.nchannels))
        if generation < 0:
            raise UsageError(f"the tuner plugin takes no {cell.label}")
        return int(generation)

    def release(self) -> int:
        """Forget every forced cell; return the generation from which on a table or NCCL itself decides."""
        return int(self._library.ncclprobe_release())

    def load_table(self, path: pathlib.Path) -> int:
        """Put a table in force instead of any earlier one; return its number of rows.

        Raises:
            ParseError: It cannot be read or is malformed; what was in force stays.
        """
        error, name = ctypes.create_string_buffer(_ERROR_BYTES), os.fsencode(path)
        if b"\0" in name:
            raise ParseError("no file has a NUL in its name", source=str(path))
        rows = int(self._library.ncclprobe_load_table(name, error, len(error)))
        if rows < 0:
            raise ParseError(error.value.decode("utf-8", "replace"), source=str(path))
        return rows

    def drop_table(self) -> int:
        """Put no table in force; return the generation from which on that holds."""
        return int(self._library.ncclprobe_drop_table())

    def repeated(self, calls: Calls) -> Callable[[int], int]:
        """Return what makes so many calls one after the other, without Python's time in between, until one fails.

        It returns NCCL's result code, 0 where all went well.
        """
        addresses = [address for pair in calls.buffers for address in pair]
        buffers = (ctypes.c_void_p * len(addresses))(*addresses)
        gathers = calls.op is None
        fixed = (
            None if gathers else calls.function, calls.function if gathers else None, calls.op or 0, buffers,
            len(calls.buffers), calls.count, calls.dtype, calls.comm, calls.stream,
        )  # fmt: skip
        return functools.partial(self._library.ncclprobe_repeat, *fixed)

    def answers(self, after: int = 0, generation: int | None = None) -> tuple[Answer, ...]:
        """Return what NCCL asked and was left with, oldest first; of the last ``ROOM`` questions at most.

        Args:
            after: Leave out the questions up to this number; ``state.asked`` before an operation is it.
            generation: Only those asked while that wish was in force; None takes all.
        """
        room = min(ROOM, max(0, self.state.asked - after))
        answers = (_Answer * room)()
        count = self._library.ncclprobe_answers(after, answers, room)
        return tuple(_record(one) for one in answers[:count] if generation in (None, one.generation))

    def last(self) -> Answer | None:
        """Return the latest answer, None before the first question."""
        asked = self.state.asked
        found = self.answers(after=asked - 1) if asked else ()
        return found[-1] if found else None


class Calls(Record, frozen=True, kw_only=True):
    """Calls of one of NCCL's collectives that differ in their buffers alone."""

    function: int
    """Its address."""
    op: int | None
    """The reduction, or a broadcast's root; None for collectives that take neither."""
    buffers: tuple[tuple[int, int], ...]
    """Addresses to send from and to receive at, taken in turn."""
    count: int
    """Elements, as in NCCL's call."""
    dtype: int
    """NCCL's number."""
    comm: int
    """NCCL's handle."""
    stream: int
    """CUDA's handle."""


def _opened(path: pathlib.Path) -> ctypes.CDLL:
    """Return the library with its functions' types set, and its version checked."""
    try:
        library = ctypes.CDLL(os.fspath(path), mode=os.RTLD_LAZY | os.RTLD_LOCAL)
        abi = int(library.ncclprobe_abi())
    except (OSError, AttributeError) as problem:
        raise BackendError(f"cannot load the tuner plugin {path}: {problem}") from problem
    if abi != ABI:
        raise BackendError(f"the tuner plugin {path} has the interface {abi}, this ncclprobe needs {ABI}; rebuild it")
    integer, pointer, size = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
    for name, result, arguments in (
        ("force", ctypes.c_int64, [integer] * 4),
        ("release", ctypes.c_int64, []),
        ("load_table", ctypes.c_int64, [ctypes.c_char_p, ctypes.c_char_p, size]),
        ("drop_table", ctypes.c_int64, []),
        ("answers", size, [ctypes.c_uint64, pointer, size]),
        ("state", None, [pointer]),
        ("repeat", integer, [*[pointer] * 2, integer, pointer, integer, size, integer, *[pointer] * 2, integer]),
    ):
        function = getattr(library, f"ncclprobe_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def _collective(collective: Collective | None) -> int:
    if collective is None:
        return -1
    if collective not in TUNED_COLLECTIVES:
        raise UsageError(f"NCCL asks no tuner about {collective}; choose from {', '.join(TUNED_COLLECTIVES)}")
    return TUNED_COLLECTIVES.index(collective)


def _number(names: type[_Name], text: str) -> int:
    if text == DEFAULT:
        return -1
    if (name := names.parse(text)) is None:
        raise UsageError(f"NCCL has no {names.__name__.lower()} {text!r}; choose from {', '.join(names)}")
    return name.number


def _channels(nchannels: int | None) -> int:
    if nchannels is not None and not 1 <= nchannels <= MAX_CHANNELS:
        raise UsageError(f"NCCL runs 1 to {MAX_CHANNELS} channels, not {nchannels}")
    return -1 if nchannels is None else nchannels


def _record(answer: _Answer) -> Answer:
    known = 0 <= answer.collective < len(TUNED_COLLECTIVES)
    return Answer(
        number=answer.number,
        generation=answer.generation,
        comm_id=answer.comm_id,
        size_bytes=answer.bytes,
        api=answer.api,
        collective=TUNED_COLLECTIVES[answer.collective] if known else None,
        nranks=answer.nranks,
        nnodes=answer.nnodes,
        num_pipe_ops=answer.pipe_ops,
        reg_buff=None if answer.registered < 0 else bool(answer.registered),
        source=list(AnswerSource)[answer.source],
        refused=list(Refusal)[answer.refused - 1] if answer.refused else None,
        algo=_name(Algo, answer.algo),
        proto=_name(Proto, answer.proto),
        nchannels=answer.channels or None,
    )


def _name(names: type[_Name], number: int) -> str | None:
    known = list(names)
    return known[number].value if 0 <= number < len(known) else None
