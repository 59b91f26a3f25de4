"""``ncclprobe profile``: a workload's message sizes, from what recorded them."""

from __future__ import annotations

import functools
import pathlib

import click

from ncclprobe.cli.keeping import keep
from ncclprobe.cli.output import OUT_ON_REQUEST, finish, shared_options
from ncclprobe.cli.profile_files import read_profile
from ncclprobe.errors import UsageError
from ncclprobe.report.text.profile import profile_text
from ncclprobe.units import parse_size
from ncclprobe.workload.replays import Replays

NAME = "profile"


def _replays(_context: click.Context, _option: click.Parameter, text: str | None) -> Replays:
    """Return what ``--replays`` says.

    Raises:
        UsageError: A part is neither a number nor a size with one.
    """
    everywhere, by_size = None, {}
    for part in text.split(",") if text else ():
        size, equals, number = part.rpartition("=")
        if not number.strip().isdecimal():
            raise UsageError(f"--replays {text!r}: write a number, or sizes with numbers such as 14336=4000,28672=120")
        if equals:
            by_size[int(parse_size(size))] = int(number)
        else:
            everywhere = int(number)
    return Replays(everywhere=everywhere, by_size=by_size)


@click.command(NAME)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--replays", callback=_replays, metavar="N|SIZE=N,...",
    help="How often the CUDA graphs that hold the operations, or those of a size, were replayed.",
)  # fmt: skip
@functools.partial(shared_options, out_help=OUT_ON_REQUEST)
def command(
    files: tuple[str, ...], replays: Replays, out: pathlib.Path | None, seed: int | None, *, as_json: bool
) -> int:
    """Say which messages a workload sends: collective, type, size and count, of one rank.

    Each FILE's kind is recognised by its content, - is the standard input, a folder stands for the files in it: NCCL
    logs with NCCL_DEBUG_SUBSYS=COLL of any size, the tuner plugin's records, NCCL Inspector's and the example profiler
    plugin's JSON, nsys exports (SQLite, kernel tables), SGLang's logs and one-batch results for how often graphs ran.

    \b
    ncclprobe profile nccl.*.log --out profile
    ncclprobe profile nccl.log sglang.log report.sqlite
    ncclprobe sweep --profile profile

    Exit status 3 if a file is of no known kind, 2 if one cannot be read.
    """  # noqa: D301 (click reads the backspace)
    document, unreadable = read_profile(files, replays)
    path = keep(NAME, document, files, out, seed)
    status = finish(document, lambda: profile_text(document, path), as_json=as_json, path=path)
    return UsageError.exit_status if unreadable else status
