"""One rank of the workload ``proxy``: ``python -m ncclprobe.e2e.proxy_worker``, started by ``proxy``.

Rank 0 takes the request from its channel and sends the report; all ranks run the same steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import msgspec
import numpy as np
from mpi4py import MPI

from ncclprobe import segments
from ncclprobe.backends import mpi_names, mpit
from ncclprobe.e2e.choice import matching, numbered
from ncclprobe.e2e.decode import Floats, checksum, decode, make_layers, message_bytes, tokens
from ncclprobe.e2e.proxy import METRIC, InForce, ProxyReport, ProxyRequest
from ncclprobe.errors import BackendError
from ncclprobe.launchers.channel import Channel
from ncclprobe.names import Collective
from ncclprobe.records.base import Record
from ncclprobe.records.inspect import TunerRow
from ncclprobe.records.sweep import Cell

WARM_STEPS = 2
"""The first ones connect peers and touch every page."""
RANKS_AGREE = 1e-4
"""Relative spread of the ranks' checksums: some algorithms sum in another order on each rank."""
_COLLECTIVE = Collective.ALL_REDUCE


class Timed(Record, frozen=True, kw_only=True):
    """What one rank measured."""

    seconds: float
    """Of all timed steps."""
    waiting: float
    """Of these in all-reduces."""
    checksum: float
    """Mean over the steps."""


class Knob:
    """A control variable of the MPI library by the words of its environment variable."""

    def __init__(self, variable: mpit.Variable, environment_name: str) -> None:
        self.name, self._variable = environment_name, variable
        self._numbers = numbered(list(variable.choices), variable.initial, os.environ.get(environment_name, "auto"))

    def read(self) -> str:
        """Return the value in force."""
        value = self._variable.read()
        return next((word for word, number in self._numbers.items() if number == value), str(value))

    def write(self, word: str | None) -> None:
        """Put a value in force; None is the one that the process began with.

        Raises:
            BackendError: The library has no such value.
        """
        if word is not None and self._numbers and word not in self._numbers:
            raise BackendError(f"{self.name} has no {word!r}; it takes {', '.join(self._numbers)}")
        number = self._variable.initial if word is None else self._numbers[word] if self._numbers else int(word)
        if number != self._variable.read():
            self._variable.write(number)


class Switch:
    """Sets the library up before each all-reduce as the table says, and reads back what is in force."""

    def __init__(self, table: Sequence[TunerRow], nranks: int, nnodes: int) -> None:
        self._table, self._shape = table, (nranks, nnodes)
        variables = mpit.ControlVariables(MPI.__file__)
        self._algorithm = _knob(variables, mpi_names.mpich_algorithm(_COLLECTIVE), "") or _knob(
            variables, mpi_names.open_mpi_algorithm(_COLLECTIVE), "OMPI_MCA_"
        )
        self._device = _knob(variables, mpi_names.mpich_device(_COLLECTIVE), "")

    def set_for(self, size: int) -> None:
        """Put in force what the table says for a size; without a row, what the process began with."""
        if not self._table:
            return
        row = matching(self._table, size, *self._shape)
        if self._algorithm is None:
            raise BackendError("this MPI library has no variable for the all-reduce's algorithm")
        self._algorithm.write(None if row is None else mpi_names.library_name(Cell(algo=row.algo)))
        if self._device is not None:
            self._device.write(None if row is None else "0")

    def read(self) -> dict[str, str]:
        """Return what is in force."""
        return {knob.name: knob.read() for knob in (self._algorithm, self._device) if knob is not None}


def _knob(variables: mpit.ControlVariables, name: str | None, prefix: str) -> Knob | None:
    variable = variables.find(name)
    return None if variable is None else Knob(variable, f"{prefix}{name}")


def timed_steps(request: ProxyRequest, comm: MPI.Comm, switch: Switch) -> Timed:
    """Return this rank's times of the loop."""
    shape, waiting = request.shape, 0.0
    layers = make_layers(shape, comm.Get_rank())
    total_BH = np.empty((shape.batch, shape.hidden), dtype=np.float32)

    def reduce(part_BH: Floats) -> Floats:
        nonlocal waiting
        switch.set_for(part_BH.nbytes)
        began = time.perf_counter()
        comm.Allreduce(np.ascontiguousarray(part_BH), total_BH)
        waiting += time.perf_counter() - began
        return total_BH

    for step in range(WARM_STEPS):
        decode(tokens(shape, step), layers, reduce)
    inputs = [tokens(shape, step) for step in range(shape.steps)]
    comm.Barrier()
    waiting, began = 0.0, time.perf_counter()
    outputs = [decode(x_BH, layers, reduce) for x_BH in inputs]
    comm.Barrier()
    seconds = time.perf_counter() - began
    return Timed(seconds=seconds, waiting=waiting, checksum=float(np.mean([checksum(y_BH) for y_BH in outputs])))


def report_of(
    request: ProxyRequest, times: Sequence[Timed], variables: Sequence[dict[str, str]], hosts: Sequence[str]
) -> ProxyReport:
    """Return the report of all ranks' measurements."""
    seconds, sums = max(time.seconds for time in times), [time.checksum for time in times]
    spread = (max(sums) - min(sums)) / abs(sums[0])
    differ = f"the ranks' results differ: their checksums range from {min(sums):.9g} to {max(sums):.9g}"
    shape = request.shape
    ways = {tuple(sorted(one.items())): one for one in variables}
    return ProxyReport(
        metrics={
            METRIC: shape.batch * shape.steps / seconds,
            "step_ms": 1e3 * seconds / shape.steps,
            "comm_share": float(np.mean([time.waiting / time.seconds for time in times])),
            "checksum": sums[0],
        },
        library=" ".join(MPI.Get_library_version().split("\n")[0].split()),
        in_force=tuple(
            InForce(
                size_bytes=message_bytes(shape),
                ranks=tuple(rank for rank, other in enumerate(variables) if other == one),
                variables=one,
            )
            for one in ways.values()
        ),
        problem="" if spread <= RANKS_AGREE else differ,
        hosts=tuple(hosts),
    )


def main() -> None:
    """Run one trial."""
    comm = MPI.COMM_WORLD
    channel = Channel()
    channel.abort = lambda: comm.Abort(1)
    comm.Barrier()
    segments.unname()
    text = channel.receive() if comm.Get_rank() == 0 else b""
    request = msgspec.json.decode(comm.bcast(text), type=ProxyRequest)
    hosts = comm.allgather(MPI.Get_processor_name())
    switch = Switch(request.table, comm.Get_size(), len(set(hosts)))
    times = comm.gather(timed_steps(request, comm, switch))
    variables = comm.gather(switch.read())
    if times is not None and variables is not None:
        channel.send(msgspec.json.encode(report_of(request, times, variables, hosts)))


if __name__ == "__main__":
    main()
