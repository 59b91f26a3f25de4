"""Real hosts measured in rounds: ranks are started once, watched, and started anew without hosts that are gone.

An MPI job ends or hangs as a whole when a host does. So every wait has an end; after one, the ranks are ended, each
host is asked apart whether it answers, and those that do go on with what is left of the round.
"""

from __future__ import annotations

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from ncclprobe.bandwidth import busbw
from ncclprobe.errors import BackendError, LaunchError
from ncclprobe.launchers.gang import Meeting
from ncclprobe.launchers.run import Session
from ncclprobe.names import Collective
from ncclprobe.nodes.hosts import FleetOptions, Hosts, ranks_of, settled
from ncclprobe.nodes.messages import (
    Answer,
    Checked,
    CheckInside,
    Done,
    FleetSettings,
    Grouped,
    Measure,
    Ready,
    Stop,
    answer_in,
    encode,
)
from ncclprobe.nodesets import fold
from ncclprobe.records.nodes import Check, CheckValue, Group, GroupValue, HostGone, Round, WrongSum
from ncclprobe.units import Bytes, Seconds, format_size

WINDOW_S = 0.25
"""A group takes samples for so long in a round."""
GRACE_S = 5.0
"""Beyond the ranks' own limit, until their silence counts."""
START_S, START_PER_HOST_S = 60.0, 0.05
"""What the start of all ranks may take on hosts that have answered."""
FINISH_S = 5.0
"""What ranks may take to leave."""
CHECKS = 5
"""Rounds of the survey before which nodes check themselves."""
BARREN_STARTS = 3
"""Starts of ranks in a row without a value though all their hosts answer, after which the run ends with an error."""
MOST_STARTS = 12
"""Starts in all: a run's time has an end however many hosts go one by one."""

ROUNDS_A_START = 4
"""Rounds that ranks serve before others take their place: which cores, memory and paths a start happens to give lasts
as long as the ranks, and would be taken for the node's own."""

UNIT = "GB/s"
UNIT_BETWEEN_HOSTS = "GB/s between hosts"
"""Of pairs of GPUs: judged apart from those within a host, whose links are others."""
GPU_CHECKS = (Check.GPU_MEMORY, Check.GPU_COMPUTE)
"""Of one GPU each; the others are about the whole node."""

Kept = CheckValue | HostGone | WrongSum | FleetOptions
"""What is known of a fleet beside its groups' values."""


class HostFleet:
    """Measures groups of hosts. Use it with ``with``: no rank is left behind.

    Attributes:
        options: What is measured; what depends on the hosts is settled once they were asked.
        library: What runs the all-reduce; empty before the first start.
    """

    def __init__(
        self,
        options: FleetOptions,
        *,
        keep: Callable[[Kept], None],
        note: Callable[[str], None],
        checks: bool = True,
    ) -> None:
        """Plan it; nothing runs before the first round.

        Args:
            options: What to measure on which hosts.
            keep: Takes what nodes measured of themselves, hosts that do not answer, wrong sums, and the options as
                settled.
            note: Takes a line for people now and then.
            checks: Whether nodes measure themselves as well.
        """
        self.options, self._keep, self._note = options, keep, note
        self._rounds_with_checks = CHECKS if checks else 0
        self.library = ""
        self._gone: dict[str, str] = {}
        self._asked = False
        self._told: set[str] = set()
        self._checked: set[int] = set()
        self._hung = ""
        self._starts, self._barren = 0, 0
        self._turn = 0
        self._exits = contextlib.ExitStack()
        self._session: Session | None = None
        self._ranks: dict[str, tuple[int, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None and kind is None:
            self._session.finish(encode(Stop()), FINISH_S)
        self._end()

    @property
    def ngpus(self) -> int:
        """Return how many GPUs of each node are held."""
        if self.options.gpus:
            return 1
        return (self.options.ranks_per_node or 0) if self.options.backend == "nccl" else 0

    @property
    def description(self) -> str:
        """Return what was measured, for people."""
        what = f"{self.options.backend} all-reduce of {format_size(self.options.size_bytes or 0)}"
        ranks = self.options.ranks_per_node or 1
        if self.options.gpus:
            return f"{what} between the {len(self.options.nodes)} GPUs of {fold(self.options.hosts)}"
        return f"{what} on {fold(self.options.hosts)}, {ranks} rank{'s' * (ranks > 1)} each, by {self.options.launcher}"

    @property
    def alive(self) -> tuple[str, ...]:
        """Return the hosts that answer."""
        return tuple(host for host in self.options.hosts if host not in self._gone)

    def measure(self, planned: Round) -> Iterator[GroupValue]:
        """Yield a value for each group of a round as it comes, and one for each host that turned out to be gone.

        Raises:
            LaunchError: No ranks can be started though all hosts answer.
        """
        if not self._asked:
            self._ask()
        self._take_turns(planned.index)
        left = list(planned.groups)
        inside = planned.stage == "survey" and planned.index < self._rounds_with_checks
        while True:
            yield from self._missing(planned.index)
            gone = {node for host in self._gone for node in self.options.nodes_of(host)}
            left = [group for group in left if not set(group.nodes) & gone]
            if not left:
                return
            if self._session is None and self._starts >= MOST_STARTS:
                yield from (_failed(group, planned.index, "failed") for group in left)
                return
            for group, value in self._tried(tuple(left), planned.index, inside=inside):
                left.remove(group)
                yield value

    # ---- rounds

    def _tried(self, groups: Sequence[Group], index: int, *, inside: bool) -> Iterator[tuple[Group, GroupValue]]:
        """Yield what one attempt gives; where ranks die or hang, the hosts are asked.

        Raises:
            LaunchError: Ranks die again and again though all hosts answer.
        """
        try:
            if inside and index not in self._checked:
                self._check(index)
            for group, value in self._measured(groups, index):
                self._barren = 0
                yield group, value
            if self._hung:
                self._recover(f"{self._hung} did not end in time")
        except (LaunchError, BackendError) as problem:
            self._recover(str(problem).splitlines()[0])
            if self._barren >= BARREN_STARTS:
                raise

    def _measured(self, groups: Sequence[Group], index: int) -> Iterator[tuple[Group, GroupValue]]:
        """Yield what groups measured at the same time, those that hung last."""
        session, self._hung = self._started(), ""
        members = [tuple(sorted(rank for node in group.nodes for rank in self._ranks[node])) for group in groups]
        session.send(encode(Measure(groups=tuple(members))))
        heard = {}
        for answer in self._answers(session):
            if isinstance(answer, Grouped):
                heard[answer.group] = answer
                self._keep_wrong(members[answer.group], answer.outcome.wrong, index)
                if answer.outcome.status == "ok":
                    yield groups[answer.group], self._value(groups[answer.group], answer, index, len(members[0]))
        for number, group in enumerate(groups):
            answered = heard.get(number)
            status = "timeout" if answered is None else answered.outcome.status
            if status == "timeout":
                self._hung = "–".join(group.nodes)
            if status != "ok":
                if answered is not None and status == "failed":
                    self._note(f"{'–'.join(group.nodes)}: {answered.outcome.message}")
                seconds = self.options.timeout_s if answered is None else answered.seconds
                yield group, _failed(group, index, status, seconds)

    def _answers(self, session: Session) -> Iterator[Answer]:
        """Yield what rank 0 says until all has been said."""
        limit_s = self.options.timeout_s + GRACE_S
        while not isinstance(answer := answer_in(session.receive(limit_s)), Done):
            yield answer

    def _value(self, group: Group, answer: Grouped, index: int, nranks: int) -> GroupValue:
        size = Bytes(self.options.size_bytes or 0)
        rates = [busbw(Collective.ALL_REDUCE, size, Seconds(time), nranks) for time in answer.outcome.times_s]
        return GroupValue(
            nodes=group.nodes,
            value=statistics.median(rates),
            unit=UNIT if not self.options.gpus or self.options.on_one_host(group.nodes) else UNIT_BETWEEN_HOSTS,
            rail=group.rail,
            round=index,
            samples=tuple(rates),
            seconds=answer.seconds,
        )

    def _missing(self, index: int) -> Iterator[GroupValue]:
        """Yield a failed value of its own for each host that is newly gone."""
        for host in [host for host in self._gone if host not in self._told]:
            self._told.add(host)
            for node in self.options.nodes_of(host):
                self._keep(HostGone(node=node, why=self._gone[host], round=index))
                yield GroupValue(nodes=(node,), value=0.0, unit=UNIT, round=index, status="failed")

    def _check(self, index: int) -> None:
        """Have nodes measure themselves, and keep what they say."""
        session = self._started()
        self._checked.add(index)
        several = tuple(ranks for ranks in self._ranks.values() if len(ranks) > 1)
        session.send(encode(CheckInside(groups=several)))
        answers = [answer for answer in self._answers(session) if isinstance(answer, Checked)]
        for answer in answers:
            ranks = next((ranks for ranks in several if ranks[0] == answer.rank), ())
            self._keep_wrong(ranks, answer.wrong, index)
        for value in check_values(answers, self._ranks, index):
            if not self.options.gpus:
                self._keep(value)
            elif value.check in GPU_CHECKS:
                self._keep(value.with_(gpu=None))

    def _keep_wrong(self, ranks: Sequence[int], wrong: Sequence[int], index: int) -> None:
        """Keep that sums of a group were wrong, and on which of its nodes."""
        if not any(wrong):
            return
        node_of = {rank: node for node, own in self._ranks.items() for rank in own}
        nodes = tuple(dict.fromkeys(node_of[rank] for rank in ranks))
        on = tuple(dict.fromkeys(node_of[rank] for rank, number in zip(ranks, wrong, strict=True) if number))
        self._keep(WrongSum(nodes=nodes, on=on, elements=sum(wrong), round=index))

    # ---- ranks

    def _started(self) -> Session:
        """Return the ranks of all hosts that answer, started if they are not yet."""
        if self._session is not None:
            return self._session
        self._starts += 1
        self._barren += 1
        hosts = Hosts(self.options)
        timeout_s = self.options.timeout_s
        settings = FleetSettings(
            size_bytes=self.options.size_bytes or 0,
            window_s=WINDOW_S,
            timeout_s=timeout_s,
            patience_s=timeout_s + 2 * GRACE_S,
        )
        meeting = None
        if self.options.backend == "nccl":
            nranks = (self.options.ranks_per_node or 1) * len(self.alive)
            meeting = self._exits.enter_context(Meeting(nranks, here=hosts.here, hosts=self.alive))
        session = Session(hosts.job(self.alive, settings, meeting), hosts.launcher())
        self._exits.callback(session.close)
        self._session = session
        ready = answer_in(session.receive(START_S + START_PER_HOST_S * len(self.alive)))
        if not isinstance(ready, Ready):
            raise LaunchError("the ranks began with something else than their names")
        self._ranks = self.options.ranks_of_nodes(ranks_of(self.alive, ready.names))
        self.library = ready.library
        return session

    def _take_turns(self, index: int) -> None:
        """Let ranks that have served their rounds leave; the next ones are started when they are needed."""
        turn, before = index // ROUNDS_A_START, self._turn
        self._turn = turn
        if self._session is not None and turn != before:
            self._session.finish(encode(Stop()), FINISH_S)
            self._starts -= 1
            self._end()

    def _recover(self, why: str) -> None:
        """End the ranks and ask the hosts which of them answer."""
        stopped = ", ".join(self._session.stopped()) if self._session is not None else ""
        self._note(f"{why}{f', a signal has stopped {stopped}' if stopped else ''}; asking each host")
        self._end()
        self._ask()

    def _end(self) -> None:
        self._session = None
        self._exits.close()
        self._exits = contextlib.ExitStack()

    def _ask(self) -> None:
        self._asked = True
        hosts = Hosts(self.options)
        answers, silent = hosts.ask(self.alive)
        if silent:
            late, silent = hosts.ask_again(silent)
            answers |= late
        self._barren = 0 if silent else self._barren
        for host, why in silent.items():
            self._gone[host] = why
            self._note(f"{host} does not answer")
        before, self.options = self.options, settled(self.options, answers)
        if self.options != before:
            self._keep(self.options)


def _failed(group: Group, index: int, status: str, seconds: float = 0.0) -> GroupValue:
    return GroupValue(
        nodes=group.nodes, value=0.0, unit=UNIT, rail=group.rail, round=index, status=status, seconds=seconds
    )


def check_values(answers: Iterable[Checked], ranks: dict[str, tuple[int, ...]], index: int) -> Iterator[CheckValue]:
    """Yield what nodes measured of themselves: GPUs one by one, the mean over ranks of what is the whole node's."""
    node_of = {rank: node for node, own in ranks.items() for rank in own}
    whole: dict[tuple[str, Check, str], list[float]] = defaultdict(list)
    for answer in sorted(answers, key=lambda answer: answer.rank):
        node = node_of[answer.rank]
        for own in answer.values:
            check = Check(own.check)
            if check in GPU_CHECKS:
                gpu = ranks[node].index(answer.rank)
                yield CheckValue(node=node, check=check, gpu=gpu, value=own.value, unit=own.unit, round=index)
            else:
                whole[node, check, own.unit].append(own.value)
    for (node, check, unit), values in whole.items():
        yield CheckValue(node=node, check=check, value=statistics.fmean(values), unit=unit, round=index)
