"""One rank that reads control variables of its MPI library, which the arguments name."""

from __future__ import annotations

import sys

import msgspec
from mpi4py import MPI

from ncclprobe.backends.mpi_ranks import MpiRank
from ncclprobe.backends.mpi_settings import SeenVariable, SeenVariables
from ncclprobe.backends.mpit import ControlVariables
from ncclprobe.launchers.channel import Channel


def main() -> None:
    """Send what every rank sees."""
    channel, side = Channel(), MpiRank()
    channel.abort = side.abort
    variables = ControlVariables(MPI.__file__)
    found = {name: variables.find(name) for name in sys.argv[1:]}
    mine = {name: SeenVariable(value=one.read(), choices=one.choices) for name, one in found.items() if one is not None}
    everyone = side.world.gather(mine)
    if everyone is not None:
        channel.send(msgspec.json.encode(SeenVariables(library=side.choices().library, ranks=tuple(everyone))))


if __name__ == "__main__":
    main()
