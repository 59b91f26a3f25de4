"""Sightings -> hosts: which of them are about the same one.

An equal GUID says so, whatever the labels; else the label does; without labels a sighting belongs to the host before
it unless a device contradicts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ncclprobe.records.scan import Gpu, Hca, Host
from ncclprobe.scan.parsers import merge
from ncclprobe.scan.parsers.recognise import Label, Sighting

LOOK_BACK = 64
"""So many hosts before it may be the one that a sighting without label and GUID is about."""


class _Group:
    """What is known to be about one host so far."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.name: str | None = None
        self.hcas: dict[str, Hca] = {}
        self.gpus: dict[int, Gpu] = {}
        self.facts: dict[str, str] = {}
        self.outputs: set[int] = set()

    def is_same(self, seen: Sighting) -> bool:
        """Return whether a device's GUID shows that the sighting is about this host."""
        return any(merge.same(self.hcas[hca.name], hca) for hca in seen.hcas if hca.name in self.hcas)

    def allows(self, seen: Sighting) -> bool:
        """Return whether nothing in the sighting contradicts this host; within one output nothing changes at all."""
        known = [(self.hcas[hca.name], hca) for hca in seen.hcas if hca.name in self.hcas]
        gpus = [(self.gpus[gpu.index], gpu) for gpu in seen.gpus if gpu.index in self.gpus]
        if self.gpus and seen.gpus and not len(self.gpus) == len(seen.gpus) == len(gpus):
            return False
        contradicts = merge.differs if seen.output in self.outputs else merge.conflicts
        return not any(contradicts(*pair) for pair in known) and not any(_differ(*pair) for pair in gpus)

    def add(self, seen: Sighting) -> None:
        """Take a sighting in."""
        self.outputs.add(seen.output)
        if seen.label:
            self.keys.add(seen.label.key)
            self.name = self.name or seen.label.name
        self.hcas = {hca.name: hca for hca in merge.merge_hcas((*self.hcas.values(), *seen.hcas))}
        self.gpus = {gpu.index: gpu for gpu in merge.merge_gpus((*self.gpus.values(), *seen.gpus))}

    def host(self, name: str | None = None) -> Host:
        """Return the record."""
        return Host(
            host=name or self.name,
            hcas=tuple(self.hcas.values()),
            gpus=tuple(self.gpus.values()),
            facts=tuple(self.facts.items()),
        )


class _Groups:
    """The hosts so far, in order of first appearance, found by GUID and by label without asking each of them."""

    def __init__(self) -> None:
        self.all: list[_Group] = []
        self._by_label: dict[str, list[_Group]] = defaultdict(list)
        self._by_identity: dict[object, list[_Group]] = defaultdict(list)

    def join(self, seen: Sighting, label: Label | None) -> _Group:
        """Return the group that a sighting went into, a new one where it belongs to none."""
        group = self._of(seen, label)
        if group is None:
            self.all.append(group := _Group())
        group.add(seen)
        if seen.label and group not in self._by_label[seen.label.key]:
            self._by_label[seen.label.key].append(group)
        for key in _keys(seen):
            if group not in self._by_identity[key]:
                self._by_identity[key].append(group)
        return group

    def _of(self, seen: Sighting, label: Label | None) -> _Group | None:
        known = (group for key in _keys(seen) for group in self._by_identity.get(key, ()) if group.is_same(seen))
        if group := next(known, None):
            return group
        groups = self._by_label.get(label.key, []) if label else self.all[-LOOK_BACK:]
        return next((group for group in reversed(groups) if group.allows(seen)), None)


def _keys(seen: Sighting) -> list[object]:
    """Return what is the same in all sightings of a device: without one of these in common, none is surely the same."""
    return [(hca.name, key) for hca in seen.hcas for key in merge.identities(hca)]


def hosts_of(sightings: Iterable[Sighting]) -> tuple[Host, ...]:
    """Return one record a host, in order of first appearance."""
    sightings = tuple(sightings)
    several = len({seen.label.key for seen in sightings if seen.label}) > 1
    groups = _Groups()
    for seen in sightings:
        groups.join(seen, seen.label if several else None)
    return tuple(group.host() for group in groups.all)


def merge_hosts(hosts: Iterable[Host], *, name: str | None = None) -> tuple[Host, ...]:
    """Return one host of several records about the same one; a record that contradicts stays a host of its own.

    Args:
        hosts: In order of trust: what an earlier one states stays.
        name: The host's; by default what the records call it.
    """
    groups = _Groups()
    for number, host in enumerate(hosts):
        label = Label(host.host, host.host) if host.host else None
        group = groups.join(Sighting(label, number, host.hcas, host.gpus), None)
        group.facts = dict(host.facts) | group.facts
    return tuple(group.host(name) for group in groups.all)


def _differ(one: Gpu, other: Gpu) -> bool:
    """Return whether two records cannot be about the same GPU."""
    fields = ("uuid", "pci_bus_id", "numa_node", "nvlinks", "nearest_hcas")
    pairs = ((getattr(one, field), getattr(other, field)) for field in fields)
    return any(pair[0] not in (None, ()) and pair[1] not in (None, ()) and pair[0] != pair[1] for pair in pairs)
