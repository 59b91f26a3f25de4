"""Documents and manifests that someone edited: reports divide by what they hold, so they are refused when read."""

import json
import pathlib

import pytest

from ncclprobe.errors import RunDirectoryError
from ncclprobe.records.base import Record
from ncclprobe.records.e2e import E2eDocument
from ncclprobe.records.scan import ScanDocument
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.records.tune import TuneDocument
from ncclprobe.store import Manifest, read_document, stored_options

DATA = pathlib.Path(__file__).parents[2] / "data"
E2E = DATA / "h200_sglang_202611" / "bad" / "document.json"
SWEEP = DATA / "demo_2cores_202611" / "sweep" / "document.json"


def edited(source, folder, *path, value):
    """Write a document with one value changed, and return where."""
    document = json.loads(source.read_text())
    *parents, last = path
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    (folder / "document.json").write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(("end", "value"), [("median", 0.0), ("low", -1.0), ("high", 1e-320)])
def test_a_cell_without_a_time_is_refused(tmp_path, end, value):
    with pytest.raises(RunDirectoryError, match="has a time of 0 or less; was it edited"):
        read_document(edited(SWEEP, tmp_path, "cells", 0, "time_us", end, value=value), [SweepDocument])


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("trials", 0, "metrics", "total_throughput"), 0.0, "trial 1 has a 'total_throughput' of 0 or less"),
        (("trials", 0, "repeats"), [{}, {}], "trial 1 has a 'total_throughput' of 0 or less, or a repeat without it"),
        (("trials", 0, "effective"), {"in_force": {"logs": 1, "spans": [{}]}}, "in_force of trial 1: Object missing"),
        (("ratio", "low"), 0.0, "a ratio of throughputs is 0 or less"),
        (("trials", 0, "seconds"), 10**30, "is too large a number"),
    ],
)
def test_a_comparison_that_no_run_gives_is_refused(tmp_path, path, value, said):
    with pytest.raises(RunDirectoryError, match=said):
        read_document(edited(E2E, tmp_path, *path, value=value), [E2eDocument])


@pytest.mark.parametrize("name", ["LD_PRELOAD", "BASH_ENV", "PATH", "PYTHONSTARTUP", "LD_LIBRARY_PATH"])
def test_a_choice_by_which_programs_run_code_is_refused(tmp_path, name):
    """`env emit` would write it into a script that jobs source."""
    with pytest.raises(RunDirectoryError, match=f"it recommends '{name}', by which programs find or run code"):
        read_document(edited(SWEEP, tmp_path, "choice", "env", value={name: "/tmp/x.so"}), [SweepDocument])


@pytest.mark.parametrize("name", ["NCCL_TOPO_FILE", "SGLANG_USE_AITER", "OMP_NUM_THREADS", "KNOB"])
def test_a_choice_of_other_variables_is_read(tmp_path, name):
    read_document(edited(SWEEP, tmp_path, "choice", "env", value={name: "1"}), [SweepDocument])


@pytest.mark.parametrize("schema", ["scan", "tune"])
def test_such_a_recommendation_is_refused(tmp_path, schema):
    empty = {"schema": f"ncclprobe.{schema}/1", "created": "2026-11-22T00:00:00Z", "hosts": [], "stages": []}
    variables = [{"name": "LD_PRELOAD", "value": "/tmp/x.so", "reason": ""}]
    tuned = {"verdict": "", "choice": None, "backend": "mpi", "table": [], "seed": 1}
    (tmp_path / "document.json").write_text(json.dumps({**empty, **tuned, "env": variables}))
    with pytest.raises(RunDirectoryError, match="it recommends 'LD_PRELOAD'"):
        read_document(tmp_path, [ScanDocument, TuneDocument])


class Hosts(Record, frozen=True, kw_only=True):
    hosts: tuple[str, ...] | None = None


def test_options_of_another_kind_are_refused(tmp_path):
    manifest = Manifest(command="sweep", argv=("ncclprobe",), seed=1, options={"hosts": ["a", "b"], "sizes": "8"})
    assert stored_options(tmp_path, manifest, Hosts) == Hosts(hosts=("a", "b"))
    with pytest.raises(
        RunDirectoryError, match=r"manifest.json has no valid options of sweep: Expected `array \| null`"
    ):
        stored_options(tmp_path, manifest.with_(options={"hosts": 1.5}), Hosts)
