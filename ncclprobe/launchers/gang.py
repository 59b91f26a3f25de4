"""How ranks agree without MPI: they meet where their starter listens, then talk over TCP through rank 0.

The starter puts ``NCCLPROBE_MEET=TOKEN@PORT@HOST`` into their environment, and into no command line, which others could
see. Each rank connects there, says who it is, and learns where rank 0 listens: both on one address alone. From then on
every exchange is one frame from each rank to rank 0 and one back, tens of microseconds on a host; nothing of it lies
inside what is timed. A rank in trouble sends its frame with a mark, and then the exchange fails on all ranks alike,
naming those that are silent: nobody waits for one that stopped.

Source: Kerrisk, The Linux Programming Interface (2010), chapter 61 (TCP_NODELAY, stream framing)
"""

from __future__ import annotations

import contextlib
import errno
import platform
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from ncclprobe.decoding import from_json
from ncclprobe.errors import LaunchError, MeasurementTimeout, RankLostError
from ncclprobe.processes import LONGEST_WAIT_S
from ncclprobe.ranks import rank_from
from ncclprobe.records.base import Record
from ncclprobe.units import format_seconds

MEET_VARIABLE = "NCCLPROBE_MEET"
NRANKS_VARIABLE = "NCCLPROBE_NRANKS"
MEET_TIMEOUT_S = 100.0
"""Until all ranks have come: an interpreter's start on a cold network file system. Below run_ranks' own patience."""
TRY_S = 5.0
"""To connect, and for what a stranger says."""
TROUBLE_S = 3.0
"""How long a rank in trouble waits for word of the others, whose own limits run out at about the same time."""
_GOOD, _TROUBLE, _LOST = b"+", b"!", b"-"
_HEADER = struct.Struct("!cI")
_MOST_BYTES = 1 << 26
_ARRIVAL_BYTES = 1 << 12
"""Of what one says who comes: a stranger is not to fill the memory before the token is looked at."""


class Arrival(Record, frozen=True, kw_only=True):
    """What a rank says when it arrives."""

    token: str
    """What only the starter's ranks know."""
    rank: int
    """From 0."""
    host: str
    """Where it runs."""
    hub: str = ""
    """Where rank 0 listens: its address."""
    port: int = 0
    """And the port."""


class Meeting:
    """The starter's end: listens until all ranks have come. Use it with ``with`` around the ranks' whole life."""

    def __init__(self, nranks: int, *, here: bool, hosts: Sequence[str] = ()) -> None:
        """Listen, for ranks on this machine alone, or on the address by which some hosts see it.

        Args:
            nranks: That are to come.
            here: Whether all of them run on this machine.
            hosts: Where they run else; none for hosts that only the launcher knows.

        Raises:
            LaunchError: There is no port, no file descriptor, or no address that others could reach.
        """
        self._token, self._nranks = secrets.token_hex(16), nranks
        try:
            self._host = "127.0.0.1" if here else own_address(hosts)
            self._server = socket.create_server((self._host, 0), backlog=max(nranks, 16))
        except OSError as problem:
            raise LaunchError(
                f"cannot listen for the ranks: {problem.strerror}; see `ulimit -n`, `ip addr`"
            ) from problem
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def environment(self) -> tuple[tuple[str, str], ...]:
        """Return what the ranks need to find it."""
        port = self._server.getsockname()[1]
        meet = f"{self._token}@{port}@{self._host}"
        return (MEET_VARIABLE, meet), (NRANKS_VARIABLE, str(self._nranks))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        """Take in the ranks, then tell all of them where rank 0 is."""
        come: dict[int, tuple[socket.socket, Arrival]] = {}
        with contextlib.suppress(OSError):
            while len(come) < self._nranks:
                link, _ = self._server.accept()
                if (arrival := _arrival(link, self._token, self._nranks)) is not None:
                    come[arrival.rank] = link, arrival
            for link, _ in come.values():
                _send(link, _GOOD, msgspec.json.encode(come[0][1]))
        for link, _ in come.values():
            link.close()


def own_address(hosts: Sequence[str]) -> str:
    """Return the address of the interface that leads to the first of some hosts that has one, else to any network.

    Nothing is sent: only routes are looked up, the last one to TEST-NET-1 of RFC 5737.

    Raises:
        OSError: There is none but the loopback's.
    """
    for host in (*hosts, socket.gethostname(), "192.0.2.1"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))
            address = str(probe.getsockname()[0])
            if not address.startswith("127."):
                return address
    raise OSError(errno.EADDRNOTAVAIL, "this host has no address that others could reach")


class Gang:
    """One rank among all; every method that exchanges must be called by all ranks in the same order."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Meet the others.

        Raises:
            LaunchError: This process was not started as a rank, or the others do not come.
        """
        info, meet = rank_from(environment), environment.get(MEET_VARIABLE, "")
        if info is None or meet.count("@") != 2:
            raise LaunchError("this process was started as no rank; ranks are started by ncclprobe, not by hand")
        self.rank, self.nranks = info.rank, int(environment[NRANKS_VARIABLE])
        self.patience_s = MEET_TIMEOUT_S
        """How long an exchange waits for the slowest rank."""
        self._token, self._meet = meet.partition("@")[0], meet
        self._links: dict[int, socket.socket] = {}
        self.hosts: tuple[str, ...] = ("its host",) * self.nranks
        """Of each rank."""
        self._join()
        self.hosts = tuple(host.decode() for host in self.gather(platform.node().encode()))

    @property
    def local_rank(self) -> int:
        """Return how many lower ranks run on this host."""
        return sum(host == self.hosts[self.rank] for host in self.hosts[: self.rank])

    def share(self, content: bytes | None) -> bytes:
        """Return rank 0's content on every rank."""
        return self.gather(content or b"")[0]

    def gather(self, content: bytes) -> list[bytes]:
        """Return every rank's content, in order, on every rank.

        Raises:
            MeasurementTimeout: A rank is in trouble; all ranks hear the same.
            RankLostError: A rank is gone or silent; all ranks hear the same.
        """
        mark, answer = self._exchange(_GOOD, content, self.patience_s)
        if mark != _GOOD:
            raise _error(mark, answer)
        return msgspec.msgpack.decode(answer, type=list[bytes])

    def trouble(self, state: str) -> MeasurementTimeout:
        """Tell all ranks that this one cannot go on, and return the error that all of them get.

        Args:
            state: What this rank was at, in a few words.
        """
        return _error(*self._exchange(_TROUBLE, state.encode(), TROUBLE_S))

    def close(self) -> None:
        """Leave; those that wait for this rank hear it at once."""
        for link in self._links.values():
            link.close()

    def _exchange(self, mark: bytes, content: bytes, patience_s: float) -> tuple[bytes, bytes]:
        if self.rank:
            return self._ask(mark, content, patience_s)
        received = {0: (mark, content)} | dict(self._collect(patience_s, hurried=mark == _TROUBLE))
        answer = self._judge(received, patience_s)
        for link in self._links.values():
            with contextlib.suppress(OSError):
                _send(link, *answer)
        return answer

    def _ask(self, mark: bytes, content: bytes, patience_s: float) -> tuple[bytes, bytes]:
        """Send this rank's frame to rank 0 and return its answer."""
        link = self._links[0]
        link.settimeout(min(patience_s + 2 * TROUBLE_S, LONGEST_WAIT_S))
        try:
            _send(link, mark, content)
            return _receive(link)
        except OSError as problem:
            return _LOST, f"rank 0 on {self.hosts[0]} does not answer ({problem})".encode()

    def _collect(self, patience_s: float, *, hurried: bool) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
        """Yield the frames of the other ranks; wait no longer once one of them is in trouble."""
        deadline = time.monotonic() + patience_s
        with selectors.DefaultSelector() as selector:
            for rank, link in self._links.items():
                selector.register(link, selectors.EVENT_READ, rank)
            while selector.get_map() and (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(min(left, LONGEST_WAIT_S)):
                    selector.unregister(key.fileobj)
                    with contextlib.suppress(OSError):
                        frame = _receive(self._links[key.data])
                        yield key.data, frame
                        if frame[0] == _TROUBLE and not hurried:
                            hurried, deadline = True, min(deadline, time.monotonic() + TROUBLE_S)

    def _judge(self, received: Mapping[int, tuple[bytes, bytes]], patience_s: float) -> tuple[bytes, bytes]:
        missing = [rank for rank in range(self.nranks) if rank not in received]
        troubled = [rank for rank, (mark, _) in sorted(received.items()) if mark == _TROUBLE]
        if not missing and not troubled:
            return _GOOD, msgspec.msgpack.encode([received[rank][1] for rank in range(self.nranks)])
        states = {received[rank][1].decode("utf-8", "replace"): rank for rank in reversed(troubled)}
        words = [f"rank {rank} on {self.hosts[rank]} stopped" for rank in missing]
        words += [f"rank {rank} {state}" for state, rank in sorted(states.items(), key=lambda item: item[1])]
        if not troubled:
            words.append(f"it said nothing for {format_seconds(patience_s)}")
        return _LOST if missing else _TROUBLE, "; ".join(words).encode()

    # ---- how they meet

    def _join(self) -> None:
        arrival = Arrival(token=self._token, rank=self.rank, host=platform.node())
        _, port, host = self._meet.split("@")
        with _connected(host, int(port)) as link:
            if self.rank:
                self._links[0] = self._greet(self._told(link, arrival))
                return
            own = link.getsockname()[0]  # of the interface that leads to the starter, as the others' do
            with socket.create_server((own, 0), backlog=self.nranks) as hub:
                self._told(link, arrival.with_(hub=own, port=hub.getsockname()[1]))
                self._await(hub)

    def _told(self, link: socket.socket, arrival: Arrival) -> Arrival:
        """Say who this is where all ranks meet, and return what rank 0 says of itself."""
        link.settimeout(MEET_TIMEOUT_S)
        try:
            _send(link, _GOOD, msgspec.json.encode(arrival))
            return from_json(_receive(link)[1], Arrival)
        except OSError as problem:
            raise LaunchError(f"not all {self.nranks} ranks have come to the meeting ({problem})") from problem

    def _greet(self, first: Arrival) -> socket.socket:
        """Return the link to rank 0."""
        link = _connected(first.hub, first.port)
        _send(link, _GOOD, msgspec.json.encode(Arrival(token=self._token, rank=self.rank, host=platform.node())))
        return link

    def _await(self, hub: socket.socket) -> None:
        """Take in the other ranks on rank 0; strangers are sent away."""
        deadline = time.monotonic() + MEET_TIMEOUT_S
        while len(self._links) < self.nranks - 1:
            hub.settimeout(max(0.1, deadline - time.monotonic()))
            try:
                link, _ = hub.accept()
            except OSError as problem:
                raise LaunchError(f"not all ranks reached rank 0 on {platform.node()}: {problem}") from problem
            if (arrival := _arrival(link, self._token, self.nranks)) is not None:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._links[arrival.rank] = link


def _arrival(link: socket.socket, token: str, nranks: int) -> Arrival | None:
    """Return who has come, None for a stranger, whose link is closed."""
    link.settimeout(TRY_S)
    with contextlib.suppress(OSError, msgspec.DecodeError):
        arrival = from_json(_receive(link, _ARRIVAL_BYTES)[1], Arrival)
        if secrets.compare_digest(arrival.token.encode(), token.encode()) and 0 <= arrival.rank < nranks:
            return arrival
    link.close()
    return None


def _error(mark: bytes, answer: bytes) -> MeasurementTimeout:
    """Return what an exchange that failed raises on every rank."""
    kind = RankLostError if mark == _LOST else MeasurementTimeout
    return kind(answer.decode("utf-8", "replace"))


def _connected(host: str, port: int) -> socket.socket:
    """Return a link to a host.

    Raises:
        LaunchError: It does not answer.
    """
    try:
        link = socket.create_connection((host, port), timeout=TRY_S)
    except OSError as problem:
        why = f"cannot reach port {port} from {platform.node()} ({host}: {problem}); open it to the nodes"
        raise LaunchError(why) from problem
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _send(link: socket.socket, mark: bytes, content: bytes) -> None:
    link.sendall(_HEADER.pack(mark, len(content)) + content)


def _receive(link: socket.socket, most: int = _MOST_BYTES) -> tuple[bytes, bytes]:
    """Return a frame's mark and content.

    Raises:
        OSError: The other end is gone, too slow, or no rank.
    """
    mark, size = _HEADER.unpack(_exactly(link, _HEADER.size))
    if size > most:
        raise ConnectionError(f"a frame of {size} bytes")
    return mark, _exactly(link, size)


def _exactly(link: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        if not (part := link.recv(size - len(content))):
            raise ConnectionError("the link was closed")
        content += part
    return content
