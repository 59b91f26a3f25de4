"""What a race has spent of its budget, and what the rest of it allows. Times are seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ncclprobe.records.sweep import Block, Launch, LaunchEnd
from ncclprobe.sweep import rules
from ncclprobe.sweep.evidence import Evidence


class Budget:
    """Kept by a race; without a limit everything is allowed."""

    def __init__(self, limit_s: float | None) -> None:
        self.limit_s = limit_s
        self.elapsed_s = self._wall_s = self.starts_s = 0.0
        """Time of the finished launches; of it until their first samples."""

    def end(self, end: LaunchEnd, spent_s: float) -> None:
        """Note how long a launch took; a simulator's samples take longer than drawing them.

        Args:
            end: The launch's.
            spent_s: By all samples so far.
        """
        self._wall_s += end.seconds
        self.starts_s += end.start_s
        self.elapsed_s = max(self._wall_s, spent_s)

    @property
    def spent(self) -> bool:
        """Return whether nothing is left."""
        return self.limit_s is not None and self.elapsed_s >= self.limit_s

    def beyond(self, share: float) -> bool:
        """Return whether that share of the limit is spent."""
        return self.limit_s is not None and self.elapsed_s >= share * self.limit_s

    def affordable_launches(self, launched: int, wanted: int, least: int) -> int:
        """Return how many launches a look may take: their starts may cost a part of what is left.

        Args:
            launched: How many there were.
            wanted: By the look.
            least: That it takes whatever they cost.
        """
        if self.limit_s is None or not self.starts_s:
            return wanted
        left = rules.STARTS_BUDGET * (self.limit_s - self.elapsed_s)
        return max(least, min(wanted, math.floor(left / (self.starts_s / max(1, launched)))))

    def cut(self, blocks: list[Block], evidence: Evidence) -> list[Block]:
        """Return the blocks, repeated less where they would take longer than what is left."""
        if self.limit_s is None or not evidence.spent_s:
            return blocks
        alone = sum(block.repeat * len(block.cells) * evidence.sample_s(block.point) for block in blocks)
        expected = alone * self.elapsed_s / evidence.spent_s
        share = min(1.0, (self.limit_s - self.elapsed_s) / expected) if expected else 1.0
        return [block.with_(repeat=max(1, math.floor(block.repeat * share))) for block in blocks]

    def share_of_pairs(self, pairs: float, launches: Mapping[int, Launch], points: int) -> float:
        """Return the share of the plain design's n that fits into what is left.

        Args:
            pairs: The plain design's n.
            launches: So far.
            points: Sizes at which cells compete.
        """
        if self.limit_s is None:
            return 1.0
        done = sum(block.repeat for launch in launches.values() for block in launch.blocks)
        a_round = (self.elapsed_s - self.starts_s) / max(1.0, done / points)
        left = self.limit_s - self.elapsed_s
        return min(1.0, max(0.02, rules.USUAL_SAVING * left / (a_round * pairs)))
