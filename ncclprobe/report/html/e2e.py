"""What ``validate-e2e`` found, for people: trials in time order, the ratios, what was set and what was in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import Arm, Comparison, E2eDocument, Trial, TrialStatus
from ncclprobe.report.html.figures import MUTED, Figure, Look, Toggle, bars, figure, level, look, toggles
from ncclprobe.report.html.labels import named_axis, short_names, shortened
from ncclprobe.report.html.markup import NOTHING, Markup, element, folded, joined, plain, table
from ncclprobe.report.html.part import Body
from ncclprobe.report.html.sweep_figures import broken, styled
from ncclprobe.report.html.telemetry import sampled, telemetry_figures
from ncclprobe.report.text.beside import BESIDE_COLUMNS, agreement_text, basis_text, beside_rows
from ncclprobe.report.text.e2e_in_force import in_force_text
from ncclprobe.report.text.e2e_times import COLUMNS, itself_s, spread_text, times_rows
from ncclprobe.secrecy import is_secret, open_variables
from ncclprobe.units import format_seconds

_BASELINE = Look(colour="@ink", symbol="circle")
_UNLIKE = "differs between trials"


def e2e_body(document: E2eDocument, key: str) -> Body:
    """Return a comparison's part of the page.

    Args:
        document: The result.
        key: Begins the plots' keys.
    """
    compared = comparisons(document)
    trials = trials_figure(f"{key}-trials", document)
    ratios = [ratio_figure(f"{key}-ratio", document, compared)] if any(one.ratio for one in compared) else []
    looks = _looks(document)
    beside = telemetry_figures(f"{key}-telemetry", document, looks)
    boxes = [Toggle(group=f"arm-{at}", label=arm, look=shown, on=True) for at, (arm, shown) in enumerate(looks.items())]
    seen = in_force_text(document)
    parts = [
        *([] if document.finished else [element("p", "Unfinished: this is the answer so far.", class_="verdict")]),
        _answers(compared),
        _foretold(document),
        toggles("Arms shown", boxes, (trials.key, *(one.key for one in beside))),
        element("div", *map(figure, (trials, *ratios)), class_="pair"),
        *([element("div", *map(figure, beside), class_="pair")] if beside else []),
        _times(document),
        _settings(document),
        *([element("h4", "What NCCL ran with"), element("pre", seen, tabindex="0")] if seen else []),
        effective(document.trials),
        _every_trial(document),
    ]
    return Body(content=joined(parts), figures=(trials, *ratios, *beside))


def comparisons(document: E2eDocument) -> tuple[Comparison, ...]:
    """Return each arm against the baseline; documents of an earlier version have the candidate alone."""
    if document.comparisons:
        return document.comparisons
    only = Comparison(
        arm=Arm.CANDIDATE, verdict=document.verdict, ratio=document.ratio, trials=document.trials_per_arm,
        env=document.candidate,
    )  # fmt: skip
    return (only,)


def _answers(compared: Sequence[Comparison]) -> Markup:
    rows = [[one.arm, str(one.verdict), *_ratio(one.ratio), str(one.trials)] for one in compared]
    columns = ("arm", "verdict", "× the baseline's throughput", "95 % interval", "pairs")
    return table(columns, rows, caption="Each arm against the baseline", numbers="llrrr")


def _foretold(document: E2eDocument) -> Markup:
    """Return the sweep's prediction beside the ratio, nothing without one."""
    one = document.prediction
    if one is None:
        return NOTHING
    caption = "What the sweep predicted, beside what was measured"
    figures = table(BESIDE_COLUMNS, beside_rows(one), caption=caption, numbers="lrr")
    return joined([element("p", basis_text(one)), figures, element("p", agreement_text(one))])


def _ratio(ratio: Interval | None) -> tuple[str, str]:
    return ("-", "-") if ratio is None else (f"{ratio.estimate:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}")


def _looks(document: E2eDocument) -> dict[str, Look]:
    """Return how each arm's points look, the baseline first."""
    arms = dict.fromkeys([Arm.BASELINE.value, *(trial.arm for trial in document.trials)])
    return {arm: look(at - 1) if at else _BASELINE for at, arm in enumerate(arms)}


def trials_figure(key: str, document: E2eDocument) -> Figure:
    """Return every trial's value in the order of time; warm-ups are hollow, failed trials have no value."""
    traces = [
        {**_trial_trace(document, arm, shown), "meta": f"arm-{at}"}
        for at, (arm, shown) in enumerate(_looks(document).items())
    ]
    sense = "Less" if document.lower_is_better else "More"
    warm_ups = any(trial.status is TrialStatus.WARM_UP for trial in document.trials)
    return Figure(
        key=key,
        title="Trials in the order of time",
        description=f"{document.metric} of {document.workload}. {sense} is better{'; hollow is a warm-up' * warm_ups}.",
        traces=tuple(traces),
        layout={"xaxis": {"title": {"text": "trial"}}, "yaxis": {"title": {"text": plain(document.metric)}}},
    )


def _trial_trace(document: E2eDocument, arm: str, shown: Look) -> dict[str, Any]:
    trials = [trial for trial in document.trials if trial.arm == arm and document.metric in trial.metrics]
    style = styled(shown)
    hollow = [trial.status is TrialStatus.WARM_UP for trial in trials]
    symbols = [f"{shown.symbol}-open" if warm else shown.symbol for warm in hollow]
    return {
        **style,
        "marker": {**style["marker"], "symbol": symbols},
        "mode": "markers",
        "name": plain(arm),
        "x": [trial.number for trial in trials],
        "y": [trial.metrics[document.metric] for trial in trials],
        "customdata": [broken(_said(document, trial)) for trial in trials],
    }


def _said(document: E2eDocument, trial: Trial) -> str:
    value = trial.metrics[document.metric]
    first = (f"{trial.number}: {trial.arm}, {trial.status}", f"{document.metric} {value:.5g}", trial.started)
    return "\n".join([*first, *sampled(trial)])


def ratio_figure(key: str, document: E2eDocument, compared: Sequence[Comparison]) -> Figure:
    """Return each arm's ratio to the baseline with its interval, and the band that is of no interest."""
    known = [(one.arm, one.ratio) for one in compared if one.ratio is not None]
    middles = [ratio.estimate for _, ratio in known]
    said = [f"{arm}\n{ratio.estimate:.3f} ({ratio.low:.3f} to {ratio.high:.3f})" for arm, ratio in known]
    trace = {
        **styled(look(1)), "mode": "markers", "name": "ratio", "x": [*range(len(known))], "y": middles,
        "error_y": bars(middles, [ratio.low for _, ratio in known], [ratio.high for _, ratio in known]),
        "customdata": [*map(broken, said)],
    }  # fmt: skip
    labels = short_names([arm for arm, _ in known])
    axis = {**named_axis(trace["x"], labels), "range": [-0.6, len(known) - 0.4]}
    return Figure(
        key=key,
        title="Throughput against the baseline",
        description="With intervals that hold together at 95 %; the band is of no interest "
        f"(±{document.min_effect:.1%}).{shortened([arm for arm, _ in known], labels)}",
        traces=(trace,),
        layout={
            "xaxis": axis,
            "yaxis": {"title": {"text": "× the baseline"}},
            "shapes": [_band(document.min_effect), level(1.0)],
        },
    )


def _band(effect: float) -> dict[str, Any]:
    return {
        "type": "rect", "y0": 1 - effect, "y1": 1 + effect,
        "fillcolor": MUTED, "opacity": 0.18,
    }  # fmt: skip


def _times(document: E2eDocument) -> Markup:
    rows = times_rows(document)
    caption = "A trial's time and the benchmark's own, medians; the rest is the start"
    spread = spread_text(document)
    shown = table(COLUMNS, rows, caption=caption, numbers="lrrr") if rows else NOTHING
    return joined([shown, element("p", spread) if spread else NOTHING])


def _settings(document: E2eDocument) -> Markup:
    sets = {Arm.BASELINE.value: document.baseline} | {one.arm: one.env for one in comparisons(document)}
    rows = [[arm, name, value] for arm, env in sets.items() for name, value in open_variables(env).items()]
    rows += [[arm, "nothing set", ""] for arm, env in sets.items() if not env]
    return table(("arm", "variable", "value"), rows, caption="What each arm sets")


def effective(trials: Sequence[Trial]) -> Markup:
    """Return what was in force, an arm a column: every value that a good trial of the arm recorded."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    arms = dict.fromkeys(trial.arm for trial in trials)
    for trial in trials:
        if trial.status is TrialStatus.OK:
            for name, value in _flat(trial.effective):
                shown = found[name].setdefault(trial.arm, value)
                found[name][trial.arm] = value if shown == value else _UNLIKE
    rows = [[name, *(values.get(arm, "-") for arm in arms)] for name, values in found.items()]
    return folded("Effective settings, as the trials recorded them", table(("what", *arms), rows))


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested values with the way to each: ``env.NCCL_ALGO``, ``telemetry.0.power_w``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat("(hidden)" if is_secret(str(key)) else inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(inner, dict | list) for inner in value):
        for at, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{at}")
    elif value not in (None, [], (), {}):
        yield name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _every_trial(document: E2eDocument) -> Markup:
    rows = [
        [str(trial.number), trial.arm, str(trial.status), _value(trial, document.metric), format_seconds(trial.seconds),
         _itself(document, trial), trial.started, trial.message]
        for trial in document.trials
    ]  # fmt: skip
    columns = ("trial", "arm", "status", document.metric, "took", "benchmark", "started", "message")
    return folded(f"Every trial ({len(rows)})", table(columns, rows, numbers="rllrrrll"))


def _itself(document: E2eDocument, trial: Trial) -> str:
    own = itself_s(document, trial)
    return "-" if own is None else format_seconds(own)


def _value(trial: Trial, metric: str) -> str:
    return f"{trial.metrics[metric]:.5g}" if metric in trial.metrics else "-"
