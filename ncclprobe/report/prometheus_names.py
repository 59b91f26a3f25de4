"""Every Prometheus metric that is written: its name, type and meaning. Names are stable."""

from __future__ import annotations

PREFIX = "ncclprobe_"
_LOW, _HIGH = "Lower end of the 95 % interval of", "Upper end of the 95 % interval of"


def _with_ends(stem: str, unit: str, what: str) -> dict[str, tuple[str, str]]:
    """Return a gauge and the ends of its interval."""
    return {
        f"{stem}_{unit}": ("gauge", f"{what[0].upper()}{what[1:]}."),
        f"{stem}_low_{unit}": ("gauge", f"{_LOW} {what}."),
        f"{stem}_high_{unit}": ("gauge", f"{_HIGH} {what}."),
    }


METRICS: dict[str, tuple[str, str]] = {
    "build_info": ("gauge", "Always 1; which version of ncclprobe wrote a command's metrics."),
    "run_timestamp_seconds": (
        "gauge",
        "When the newest run that a command's metrics are of ended, in seconds since 1970.",
    ),
    "findings": ("gauge", "Findings by severity; of sweeps, those of each collective's."),
    "finding_info": ("gauge", "Always 1; a finding of the run with its code and subject."),
    **_with_ends("sweep_time", "seconds", "the time of one operation, median over samples"),
    "sweep_bus_bandwidth_bytes_per_second": ("gauge", "Bus bandwidth at the median time, as nccl-tests has it."),
    **_with_ends(
        "sweep_best_speedup",
        "ratio",
        "the default's time over the best setting's at a size; 1 where that is the default",
    ),
    "sweep_best_info": ("gauge", "Always 1; the best setting at a size, which may be the default."),
    "sweep_size_change": ("gauge", "1 where a change from the default is recommended at a size, else 0."),
    "sweep_change": ("gauge", "1 where a change from the defaults is recommended, else 0."),
    **_with_ends("sweep_gain", "ratio", "the gain of the choice over all sizes; 1 keeps the defaults"),
    "sweep_measured_seconds": ("gauge", "Time that the sweep spent on samples."),
    "sweep_info": ("gauge", "Always 1; what ran the collectives, on how many ranks."),
    "nodes": ("gauge", "Nodes by status."),
    "node_status": ("gauge", "1 for the status that a node has, 0 for the others."),
    **_with_ends("node_slowdown", "ratio", "a node's slowdown; 0.15 is 15 % below a healthy node"),
    "link_status": ("gauge", "1 for the status that the path between two nodes has, 0 for the others."),
    **_with_ends("link_slowdown", "ratio", "the slowdown of the path between two nodes"),
    "rail_status": ("gauge", "1 for the status that a rail has, 0 for the others."),
    **_with_ends("rail_slowdown", "ratio", "a rail's slowdown"),
    "scan_gpus": ("gauge", "GPUs of a node."),
    "scan_hcas": ("gauge", "HCAs of a node."),
    "scan_port_active": ("gauge", "1 where an HCA's port is ACTIVE, 0 where it is not."),
    "scan_port_rate_bytes_per_second": ("gauge", "Rate of an HCA's port."),
    "scan_variables": ("gauge", "Variables that the scan has grounds to set."),
    "e2e_verdict": ("gauge", "1 for the verdict on the workload, 0 for the others."),
    "e2e_pairs": ("gauge", "Complete pairs of trials of the workload."),
    **_with_ends("e2e_throughput", "ratio", "the candidate's throughput over the baseline's"),
    "tune_stage_done": ("gauge", "1 where a stage of tune is done, 0 where it was skipped or failed."),
    "tune_stage_seconds": ("gauge", "Wall time of a stage of tune."),
    "watch_checks_total": ("counter", "Checks that the watch ran."),
    "watch_failed_checks_total": ("counter", "Checks that left no result."),
    "watch_changes": ("gauge", "Changes that the watch's history shows."),
    "watch_interval_seconds": ("gauge", "From the start of one check to that of the next."),
    "watch_last_success_timestamp_seconds": ("gauge", "When the last good check began, in seconds since 1970."),
}
"""Name without the prefix -> type and help."""
