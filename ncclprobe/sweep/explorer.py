"""Optuna's part of a search: which combination of values to try next, from what the earlier ones gave."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ncclprobe.errors import MissingDependencyError
from ncclprobe.sweep.axes import Axis

UNSET = ""
"""Stands for a variable that stays as it is: Optuna's categories are plain values."""


class Explorer(Protocol):
    """Proposes combinations of values and learns from what they give."""

    def ask(self) -> tuple[int, Mapping[str, str | None]]:
        """Return the number of a new trial and what to try."""
        ...

    def tell(self, trial: int, value: float) -> None:
        """Say what a trial gave; more is better."""
        ...


class OptunaExplorer:
    """Optuna's tree-structured Parzen estimator over categorical parameters, one an axis.

    It models the variables together, so that it sees which of them belong together. The same seed and the same answers
    make the same proposals, so a search goes on from its journal.

    Source: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NIPS 24 (2011), section 4; Falkner et al.,
    BOHB, ICML (2018), section 3 (all parameters in one density)
    """

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed % 2**32, multivariate=True, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space = {
            axis.name: optuna.distributions.CategoricalDistribution([value or UNSET for value in axis.values])
            for axis in axes
        }
        self._trials: dict[int, Any] = {}

    def ask(self) -> tuple[int, Mapping[str, str | None]]:
        """Return the number of a new trial and what to try."""
        trial = self._study.ask(self._space)
        self._trials[trial.number] = trial
        return trial.number, {name: value or None for name, value in trial.params.items()}

    def tell(self, trial: int, value: float) -> None:
        """Say what a trial gave; more is better."""
        self._study.tell(self._trials.pop(trial), value)


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError as problem:
        raise MissingDependencyError(
            "--search optuna needs Optuna: pip install 'ncclprobe[search]', or leave --search away to try everything"
        ) from problem
