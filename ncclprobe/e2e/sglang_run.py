"""SGLang's processes in one trial: a benchmark, or a server and its client; on this node or on several."""

from __future__ import annotations

import http.client
import pathlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from ncclprobe.e2e.sglang_node import ADDRESS, REQUEST, NodeRequest
from ncclprobe.e2e.workers import Workers
from ncclprobe.launchers.base import Launcher, python_job
from ncclprobe.launchers.slurm import canceller, unique_name
from ncclprobe.processes import Process, end_tree, start

NODE = "ncclprobe.e2e.sglang_node"
READY_POLL_S = 0.5
ANSWER_WITHIN_S = 5.0
LOOPBACK, ANYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - further nodes' clients come from outside


class Nodes(NamedTuple):
    """Several nodes and what starts SGLang on them."""

    launcher: Launcher
    """Found."""
    nnodes: int
    """How many."""
    hosts: tuple[str, ...]
    """Empty leaves them to the scheduler."""
    telemetry_s: float
    """Between samples of each of them; 0 takes none."""


class Trial(NamedTuple):
    """What one trial needs to run."""

    folder: pathlib.Path
    """Takes what it leaves behind; absolute, and shared by all nodes."""
    environment: Mapping[str, str]
    """The whole one on this node."""
    carried: Mapping[str, str]
    """The part of it that further nodes are given."""
    nodes: Nodes | None
    """None for this one alone."""
    log: int
    """Descriptor that takes the output."""
    workers: Workers
    """Watches the processes."""
    started: Callable[[int], None]
    """Told the leader of the process group."""
    deadline: float
    """By the monotonic clock."""

    @property
    def left_s(self) -> float:
        """Return how long it may still take."""
        return max(0.0, self.deadline - time.monotonic())


def run_benchmark(trial: Trial, tokens: list[str]) -> int | None:
    """Return a benchmark's exit status, None where it took too long; nothing of it outlives this call."""
    process = _start(trial, tokens)
    try:
        trial.started(process.pid)
        return trial.workers.wait(process, trial.left_s)
    finally:
        _end(trial, process)


def run_serving(
    trial: Trial, server: list[str], port: int, clients: Iterable[Callable[[str], list[str]]]
) -> tuple[str, int | None]:
    """Return what ended a trial, ``server`` or ``client``, and how: an exit status, None where it took too long.

    Args:
        trial: What it needs.
        server: Its tokens.
        port: Where it listens.
        clients: Make the tokens of client runs, one after the other, from the server's host.
    """
    process = _start(trial, server)
    try:
        trial.started(process.pid)
        status = _ready(trial, process, port)
        if status != _READY:
            return "server", status
        ended = (_run_client(trial, process, client(_host(trial))) for client in clients)
        return "client", next((status for status in ended if status != 0), 0)
    finally:
        _end(trial, process)


def _end(trial: Trial, process: Process[bytes]) -> None:
    """End a command with all that it started, and return once its workers are gone."""
    end_tree(process)
    trial.workers.wait_until_gone()


_READY = -1000
"""No exit status."""


def _ready(trial: Trial, server: Process[bytes], port: int) -> int | None:
    """Return ``_READY`` once a server answers, its exit status where it ends before, None where it takes too long."""
    while trial.left_s > 0:
        if (status := trial.workers.wait(server, READY_POLL_S)) is not None:
            return status
        if _answers(_host(trial), port):
            return _READY
    return None


def _host(trial: Trial) -> str:
    """Return where the server is: here, or on the node that says to be the first."""
    if trial.nodes is None:
        return LOOPBACK
    try:
        return (trial.folder / ADDRESS).read_text("utf-8")
    except OSError:
        return LOOPBACK


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _run_client(trial: Trial, server: Process[bytes], tokens: list[str]) -> int | None:
    process = start(tokens, env=trial.environment, stdout=trial.log, stderr=trial.log)
    try:
        trial.workers.look(server.pid)
        return trial.workers.wait(process, trial.left_s)
    finally:
        trial.workers.look(server.pid)
        end_tree(process)


def _start(trial: Trial, tokens: list[str]) -> Process[bytes]:
    if trial.nodes is None:
        return start(tokens, env=trial.environment, stdout=trial.log, stderr=trial.log)
    launcher, nnodes, hosts, telemetry_s = trial.nodes
    request = NodeRequest(command=tuple(tokens), env=dict(trial.carried), port=free_port(), telemetry_s=telemetry_s)
    (trial.folder / REQUEST).write_bytes(msgspec.json.encode(request))
    job = python_job(NODE, [str(trial.folder)], nranks=nnodes, hosts=hosts, ranks_per_host=1).with_(name=unique_name())
    environment = {**trial.environment, **launcher.environment(job)}
    on_kill = canceller(launcher.name, job.name)
    return start(launcher.command(job), env=environment, stdout=trial.log, stderr=trial.log, on_kill=on_kill)


def free_port() -> int:
    """Return a TCP port that nobody listens on here at this moment."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])
