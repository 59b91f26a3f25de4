"""Every reader of what others wrote, as a function of bytes; each goes on to the text that people get of it."""

from __future__ import annotations

import contextlib
import gzip
import io
import pathlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from ncclprobe.backends.fabric import read_fabric
from ncclprobe.cli.nodes_history import changed
from ncclprobe.cli.nodes_run import judged as judged_results
from ncclprobe.cli.profile_files import read_profile
from ncclprobe.cli.report import read_run
from ncclprobe.cli.report_html import shown
from ncclprobe.e2e.sglang_model import read_facts
from ncclprobe.e2e.telemetry_run import read_telemetry
from ncclprobe.errors import ProbeError
from ncclprobe.inspect.recognise import inspect
from ncclprobe.launchers.jobs import submitted
from ncclprobe.launchers.pbs import parse_nodefile
from ncclprobe.launchers.schedulers import SCHEDULERS, Answer
from ncclprobe.launchers.site import parse_site
from ncclprobe.names import DEFAULT, Collective
from ncclprobe.nodes.csv import parse_results
from ncclprobe.nodesets import expand, fold
from ncclprobe.processes import Completed
from ncclprobe.records.inspect import InspectDocument
from ncclprobe.records.lint import LintDocument
from ncclprobe.records.sweep import Measurement
from ncclprobe.report.csv import csv_text
from ncclprobe.report.html.page import page
from ncclprobe.report.prometheus import prometheus_text
from ncclprobe.report.text.github import github_text
from ncclprobe.report.text.inspect import inspect_text
from ncclprobe.report.text.lint import lint_text
from ncclprobe.report.text.nodes import nodes_text
from ncclprobe.report.text.profile import profile_text
from ncclprobe.report.text.runs import all_findings, runs_text
from ncclprobe.report.text.scan import scan_text
from ncclprobe.scan.check import judged as judged_scan
from ncclprobe.scan.fleet import Reach, read_answer
from ncclprobe.scan.source import read_source
from ncclprobe.store import DOCUMENT, JOURNAL, MANIFEST, RunDirectory, read_journal, read_manifest
from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script_text import read_script
from ncclprobe.tuner.table import parse_table, table_text
from ncclprobe.workload.recorded import ENTRY, HEADER, MAGIC, VERSION, read_record
from ncclprobe.workload.replays import Replays

SAMPLES = pathlib.Path(__file__).parents[1] / "data"
RUNS = pathlib.Path(__file__).parents[2] / "data"
CORPUS = SAMPLES / "fuzz"
"""What fuzzing found, a folder a target: the tests read each of them again."""
MOST_NAMED = 4_000
"""Names of nodes in all rows that are judged: time grows with the names, which folded sets hide."""
SMALL = 24_000
"""Bytes of the largest sample that is mutated."""


class Target(NamedTuple):
    """A reader and texts to start from."""

    read: Callable[[bytes, pathlib.Path], object]
    """Takes what a file holds, and a folder for it."""
    seeds: Callable[[], Sequence[bytes]]


def _files(*patterns: str, root: pathlib.Path = SAMPLES) -> Callable[[], list[bytes]]:
    def read() -> list[bytes]:
        paths = sorted(path for pattern in patterns for path in root.glob(pattern))
        return [path.read_bytes() for path in paths if path.stat().st_size <= SMALL]

    return read


def _put(folder: pathlib.Path, name: str, content: bytes) -> pathlib.Path:
    (folder / name).write_bytes(content)
    return folder / name


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


# ---- readers


def _scan(content: bytes, folder: pathlib.Path) -> None:
    source = read_source(_put(folder, "captured.txt", content))
    scan_text(judged_scan(source.hosts, source.findings))


def _scan_answer(content: bytes, _folder: pathlib.Path) -> None:
    reach = Reach(launcher="ssh", ssh=("ssh",), program=("ncclprobe",), timeout_s=1.0)
    answer = read_answer("h1", Completed(returncode=0, stdout=_text(content), stderr=""), reach)
    scan_text(judged_scan(answer.hosts, answer.findings))


def _inspect(content: bytes, _folder: pathlib.Path) -> None:
    reading = inspect("captured.txt", content)
    document = InspectDocument(documents=reading.documents, findings=reading.findings)
    inspect_text(msgspec.json.decode(msgspec.json.encode(document), type=InspectDocument))


def _profile(content: bytes, folder: pathlib.Path) -> None:
    document, _ = read_profile([str(_put(folder, "captured", content))], Replays())
    profile_text(document)
    msgspec.json.encode(document)


def _results(content: bytes, folder: pathlib.Path) -> None:
    """Judge what rows say of at most MOST_NAMED nodes: some bytes can name 100,000, for which judging takes seconds."""
    values = parse_results(content.decode("utf-8", "replace"), "results.csv").values
    if sum(len(value.nodes) for value in values) <= MOST_NAMED:
        nodes_text(judged_results(_put(folder, "results.csv", content), 0.05, lower_is_better=False))


def _fabric(content: bytes, folder: pathlib.Path) -> None:
    _put(folder, "times.csv", (RUNS / "fabric_nvlink_model" / "times.csv").read_bytes())
    _use_fabric(_put(folder, "fabric.toml", content))


def _times(content: bytes, folder: pathlib.Path) -> None:
    _put(folder, "times.csv", content)
    _use_fabric(_put(folder, "fabric.toml", b'nodes = 2\n[times]\ntable = "times.csv"\n'))


def _use_fabric(path: pathlib.Path) -> None:
    fabric = read_fabric(path)
    for point in list(fabric.times)[:4]:
        assert min(fabric.median_times(point).values()) > 0
    fabric.cells(Collective.ALL_REDUCE)


def _table(content: bytes, _folder: pathlib.Path) -> None:
    """Read a table; what was taken can be written and means the same."""
    try:
        rows = parse_table(content.decode("utf-8"), "tuner.csv")
    except UnicodeDecodeError:
        return
    assert parse_table(table_text(rows), "tuner.csv") == rows
    assert all(row.algo == DEFAULT or row.algo.isprintable() for row in rows)


def _script(name: str) -> Callable[[bytes, pathlib.Path], None]:
    def read(content: bytes, _folder: pathlib.Path) -> None:
        script = read_script(_text(content), name)
        document = LintDocument(sources=(name,), nccl_version=None, settings=(), findings=lint(script, catalog(), ""))
        lint_text(document)

    return read


def _document(content: bytes, folder: pathlib.Path) -> None:
    run = read_run(_put(folder, "document.json", content))
    text = runs_text([run])
    github_text(text)
    csv_text([(run.source, run.document)])
    prometheus_text([run.document])
    page([shown(run)], all_findings([run]), "")


def _manifest(content: bytes, folder: pathlib.Path) -> None:
    """Read a manifest as --resume, the history of nodes and a report do."""
    _put(folder, MANIFEST, content)
    _put(folder, DOCUMENT, (RUNS / "h200x2_202611" / "side_healthy" / DOCUMENT).read_bytes())
    page([shown(read_run(folder))], (), "")
    with RunDirectory.resume(folder, read_manifest(folder).command):
        pass
    changed(folder, 0.05)


def _journal(content: bytes, folder: pathlib.Path) -> None:
    _put(folder, JOURNAL, content)
    _put(folder, MANIFEST, b'{"command":"nodes","argv":["ncclprobe","nodes"],"seed":1}')
    nodes_text(changed(folder, 0.05))


def _measurements(content: bytes, folder: pathlib.Path) -> None:
    _put(folder, JOURNAL, content)
    list(read_journal(folder, {"measurement": Measurement}))


def _record(content: bytes, _folder: pathlib.Path) -> None:
    read_record(content, "record")


def _site(content: bytes, _folder: pathlib.Path) -> None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return
    assert all("\n" not in line for line in parse_site(text, "site.toml").lines)


def _nodeset(content: bytes, _folder: pathlib.Path) -> None:
    """Expand a set; folded, it means the same names."""
    names = expand(_text(content)[:2000])
    if len(names) < 1000 and all(not set(name) & set(" \t\r\n,[]") and name.isprintable() for name in names):
        assert set(expand(fold(names))) == set(names)


def _nodefile(content: bytes, _folder: pathlib.Path) -> None:
    parse_nodefile(_text(content))


def _scheduler(name: str) -> Callable[[bytes, pathlib.Path], None]:
    def read(content: bytes, _folder: pathlib.Path) -> None:
        scheduler, text = SCHEDULERS[name], _text(content)
        if job := scheduler.job_id(text):
            scheduler.questions(job)
        scheduler.state(Answer(status=0, printed=text, said="", late=False))
        scheduler.is_silent(Answer(status=1, printed=text, said=text, late=False))

    return read


def _job(content: bytes, folder: pathlib.Path) -> None:
    _put(folder, "job.json", content)
    _put(folder, "job.id", b"7\n")
    submitted(folder)


def _model(content: bytes, _folder: pathlib.Path) -> None:
    read_facts(_text(content))


def _telemetry(content: bytes, folder: pathlib.Path) -> None:
    _put(folder, "telemetry-a.jsonl", content)
    msgspec.json.encode(read_telemetry(folder))


# ---- samples


def _record_samples() -> list[bytes]:
    entries = [ENTRY.pack(9, 3, 1 << 20, 4, 1, 2, 16, 1, 0, 8, 1, 5, 0), ENTRY.pack(*[0] * 13)]
    return [HEADER.pack(MAGIC, VERSION, HEADER.size, ENTRY.size, 2, 7, 10**18, 9, 0, b"h1") + b"".join(entries)]


def _profile_samples() -> list[bytes]:
    plain = _files("profile/*", "inspect/nsys*")()
    return [*plain, *_record_samples(), gzip.compress(plain[0], mtime=0), _sqlite()]


def _sqlite() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
        base.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (deviceId, start, end, shortName, demangledName)")
        base.execute("INSERT INTO StringIds VALUES (1, 'ncclDevKernel_AllReduce_Sum_bf16_RING_LL(x)')")
        base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (0, 5, 25, 1, 1)")
        base.commit()
        return base.serialize()


_TABLES = _files("inspect/tuner_*.csv")
_SHELLS = ("lint/**/*.sh", "lint/**/*.pbs")

SITE = b"""modules = ["nccl/2.27"]
setup = ["NCCL_DEBUG=WARN", ["ulimit", "-l", "unlimited"]]
directives = ["--constraint=h200"]
"""
MODEL = b'{"hidden_size": 7168, "num_hidden_layers": 61, "torch_dtype": "bfloat16", "n_routed_experts": 256}'

TARGETS: dict[str, Target] = {
    "scan": Target(_scan, _files("scan/*.txt")),
    "scan-answer": Target(_scan_answer, _files("*/scan/document.json", root=RUNS)),
    "inspect": Target(_inspect, _files("inspect/*")),
    "profile": Target(_profile, _profile_samples),
    "nodes-csv": Target(_results, _files("nodes_example/*.csv", root=RUNS)),
    "fabric": Target(_fabric, _files("fabric_*/fabric.toml", "nodes_example/*.toml", root=RUNS)),
    "fabric-times": Target(_times, _files("fabric_nvlink_model/times.csv", root=RUNS)),
    "tuner-table": Target(_table, _TABLES),
    "tuner-record": Target(_record, _record_samples),
    "script-shell": Target(_script("job.sh"), _files(*_SHELLS)),
    "script-yaml": Target(_script("job.yaml"), _files("lint/**/*.yaml")),
    "script-python": Target(_script("job.py"), _files("lint/**/*.py")),
    "script-conf": Target(_script("nccl.conf"), _files("lint/**/nccl.conf", "lint/**/*.env")),
    "script-docker": Target(_script("Dockerfile"), _files("lint/**/Dockerfile*")),
    "script-unit": Target(_script("a.service"), _files("lint/**/*.service")),
    "script-toml": Target(_script("a.toml"), _files("lint/**/*.toml")),
    "script-make": Target(_script("Makefile"), _files("lint/**/Makefile")),
    "script-json": Target(_script("a.json"), _files("lint/**/*.json")),
    "script-entries": Target(_script("env.txt"), _files("lint/**/*.txt", "lint/**/*.env")),
    "document": Target(_document, _files("*/document.json", "*/*/document.json", root=RUNS)),
    "manifest": Target(_manifest, _files("*/manifest.json", "*/*/manifest.json", root=RUNS)),
    "journal": Target(_journal, lambda: _journals("nodes_hosts_202611/**/journal.jsonl*", "h200x4*/pairs_*/*.gz")),
    "measurements": Target(_measurements, lambda: _journals("demo_2cores_202611/sweep/journal.jsonl*")),
    "site": Target(_site, lambda: [SITE]),
    "nodeset": Target(_nodeset, lambda: [b"dgx[001-004,007],login1", b"a[1-9/2]b[01-03] c"]),
    "nodefile": Target(_nodefile, lambda: [b"h1\nh1\nh2\n"]),
    "slurm": Target(_scheduler("slurm"), lambda: [b"12;c\n", b"CLUSTER: c\nRUNNING|None\n", b"CANCELLED by 0|None"]),
    "pbs": Target(_scheduler("pbs"), lambda: [b"12.srv\n", b"Job Id: 1\n    job_state = F\n    Exit_status = 271\n"]),
    "job": Target(_job, lambda: [b'{"scheduler":"slurm","name":"nccl-1","job":"7","created":"2026-11-22T00:00:00Z"}']),
    "model": Target(_model, lambda: [MODEL]),
    "telemetry": Target(_telemetry, lambda: _journals("e2e_telemetry_2cores_202611/**/telemetry*.jsonl*")),
}  # fmt: skip


def _journals(*patterns: str) -> list[bytes]:
    """Return the first lines of journals, unpacked."""
    paths = sorted(path for pattern in patterns for path in RUNS.glob(pattern))
    unpacked = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in paths]
    return [b"\n".join(content.split(b"\n")[:20]) + b"\n" for content in unpacked]


def read(name: str, content: bytes, folder: pathlib.Path) -> Exception | None:
    """Return what a target raised that is none of ours; what it says on stderr is not shown."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            TARGETS[name].read(content, folder)
    except ProbeError:
        return None
    except Exception as problem:  # noqa: BLE001 - any other is what is looked for
        return problem
    return None
