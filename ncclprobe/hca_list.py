"""What a value of NCCL_IB_HCA selects.

Source: NCCL 2.28.9, src/misc/utils.cc (``parseStringList``, ``matchIf``, ``matchPort``) and src/transport/net_ib.cc
(``^`` first, then ``=``).
"""

from __future__ import annotations

from typing import NamedTuple

from ncclprobe.decoding import whole_number


class Selection(NamedTuple):
    """NCCL_IB_HCA, taken apart."""

    exclude: bool
    exact: bool
    items: tuple[tuple[str, int | None], ...]
    """Names with their port, None for every port."""

    def matches(self, hca: str, port: int) -> bool:
        """Return whether NCCL takes a port."""
        return any(self.item_matches(item, hca, port) for item in self.items) != self.exclude

    def item_matches(self, item: tuple[str, int | None], hca: str, port: int) -> bool:
        """Return whether one item of the list names a port."""
        name, wanted = item
        return (hca == name if self.exact else hca.startswith(name)) and wanted in (None, port)


def parse_selection(value: str) -> Selection:
    """Return what ``=mlx5_0:1,mlx5_1`` or ``^mlx5_2`` means; NCCL refuses nothing, so neither does this."""
    exclude = value.startswith("^")
    rest = value.removeprefix("^")
    exact = rest.startswith("=")
    return Selection(exclude, exact, tuple(_item(word) for word in rest.removeprefix("=").split(",") if word))


def _item(word: str) -> tuple[str, int | None]:
    name, _, rest = word.partition(":")
    port = rest.partition(":")[0]  # a rail and a plane may follow from 2.30 on
    return name, whole_number(port)
