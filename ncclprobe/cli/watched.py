"""A check of ``watch``: ``python -m ncclprobe.cli.watched COMMAND ...`` is ncclprobe, and ends when its starter does.

The starter holds the other end of the pipe that is this process's stdin, and the kernel lets go of it for one that is
killed.
"""

from __future__ import annotations

import os
import signal
import threading

from ncclprobe import cli


def main() -> None:
    """Run the command line on an empty stdin; the starter's end is an interrupt."""
    starter, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_with, args=(starter,), daemon=True).start()
    cli.main()


def _end_with(starter: int) -> None:
    """Interrupt this process once nobody holds the other end of a pipe."""
    while os.read(starter, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
