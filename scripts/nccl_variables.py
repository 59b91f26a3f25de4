"""Which environment variables has NCCL, from which version to which, with which defaults?

    python scripts/nccl_variables.py NCCL_GIT --docs env.rst [--docs ...] [--library 2.32.3=libnccl.so.2 ...] [--check]

NCCL_GIT is a clone of NVIDIA/nccl with its tags (a bare one will do); `--docs` is its documentation's env.rst
(docs/userguide/source/env.rst of newer clones); `--library` adds versions whose sources are not at hand, by the
names among the library's strings. Writes data/nccl_variables/found.csv, what was found, and brings the factual columns
of ncclprobe/tuner/nccl_variables.csv up to it; what people write there (type, values, about and so on) stays. Names,
versions and defaults are facts; no text is taken. `--check` changes nothing, and fails where the table lacks a fact.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import pathlib
import re
import sys
from collections.abc import Iterator

import msgspec

from ncclprobe import processes

ROOT = pathlib.Path(__file__).parents[1]
FOUND = ROOT / "data/nccl_variables/found.csv"
TABLE = ROOT / "ncclprobe/tuner/nccl_variables.csv"
COLUMNS = (
    "name", "type", "values", "default", "since", "until", "read", "documented", "source", "replaced_by", "about",
)  # fmt: skip
FACTS = ("default", "since", "until", "documented", "source")
"""The columns that this script keeps; ``read`` too, where NCCL's macros say it."""

TAG = re.compile(r"^v(2\.\d+\.\d+)-\d+$")
PARAM = re.compile(r'(?<!DEFINE_)\bNCCL_PARAM\(\s*\w+\s*,\s*"(\w+)"\s*,\s*((?:[^()]|\([^()]*\))+?)\s*\)')
DEFINED = re.compile(r"\bDEFINE_NCCL_PARAM\(\s*\w+\s*,\s*[^,]+?,\s*(NCCL_\w+)\s*,\s*((?:[^(),]|\([^()]*\))+)", re.S)
QUOTED = re.compile(r'"(NCCL_[A-Z0-9_]+)"')
TITLE = re.compile(r"^(NCCL_[A-Z0-9_]+)[^\n]*\n-{3,}\s*$", re.M)
STRING = re.compile(rb"(?<![A-Z0-9_])NCCL_[A-Z0-9_]+(?![A-Z0-9_])")
UNDEFINED = ("NCCL_CONFIG_UNDEF_INT", "nullptr", "NCCL_LOG_NONE", "INT64_MAX")
MACROS = {
    "MAXCHANNELS": "64", "SHM_SEND_SIDE": "1", "SHM_RECV_SIDE": "2", "cudaLaunchMemSyncDomainRemote": "1",
    "NCCL_GROUP_CUDA_STREAM": "0", "NCCL_MAX_DEV_WORK_P2P_PER_BATCH": "8", "NCCL_WORK_FIFO_BYTES_DEFAULT": "1048576",
    "NCCL_INIT | NCCL_BOOTSTRAP | NCCL_ENV": "INIT,BOOTSTRAP,ENV", "(1u << NCCL_LOG_WARN)": "WARN",
    '"[%F %T] "': "[%F %T] ", "false": "0",
}  # fmt: skip
"""What the sources' names for defaults stand for."""
NOT_VARIABLES = re.compile(r"_INITIALIZER$|^NCCL_(USE_CMAKE|GRAPH$|GIN_CONNECTION_|ALGO_|PROTO_|PARAM_FLAG_)")
"""Quoted words of the sources that are no variables."""
PLUGINS = ("NCCL_INSPECTOR_", "NCCL_PROFILE_", "NCCL_PROFILER_CE_", "NCCL_TUNER_CONFIG_FILE")
"""Read by the plugins in NCCL's repository, which no library holds."""


class Found(msgspec.Struct):
    """What one variable is, by NCCL's own sources."""

    name: str
    how: str
    """``param`` (NCCL_PARAM), ``defined`` (DEFINE_NCCL_PARAM), ``getenv``; ``library``, ``docs``: seen there alone."""
    default: str
    first: str
    last: str
    """The last version that has it."""
    documented: str
    """``yes`` or ``no``."""
    file: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=pathlib.Path)
    parser.add_argument("--docs", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--library", action="append", default=[], metavar="VERSION=FILE")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    found: dict[str, Found] = {}
    for version, tag in tags(options.repository):
        for one in in_sources(options.repository, tag):
            add(found, one, version)
    libraries = [(item.partition("=")[0], pathlib.Path(item.partition("=")[2])) for item in options.library]
    known = table_rows()
    for version, path in libraries:
        add_library(found, version, strings(path), set(known))
    newest = max([one.last for one in found.values()], key=order)
    documented = {name for path in options.docs for name in TITLE.findall(path.read_text(encoding="utf-8"))}
    for name in sorted(documented):
        found.setdefault(name, Found(name, "docs", "", "", "", "yes", "")).documented = "yes"
    listing = [found[name] for name in sorted(found)]
    rows = [updated(known.get(one.name, {}), one, newest) for one in listing]
    if options.check:
        return checked(known, rows)
    FOUND.parent.mkdir(exist_ok=True)
    FOUND.write_text(csv_text(tuple(Found.__struct_fields__), [msgspec.structs.asdict(one) for one in listing]))
    extra = [row for name, row in known.items() if name not in found]
    TABLE.write_text(csv_text(COLUMNS, sorted([*rows, *extra], key=lambda row: row["name"])))
    print(f"{len(listing)} names up to NCCL {newest}: {sum(one.documented == 'yes' for one in listing)} documented")
    return 0


def git(repository: pathlib.Path, *words: str) -> str:
    ended = processes.run(["git", f"--git-dir={repository}", *words], timeout_s=120)
    if ended.returncode not in (0, 1):  # 1: git grep found nothing
        raise SystemExit(f"git {' '.join(words)}: {ended.stderr}")
    return ended.stdout


def order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")) if version else ()


def tags(repository: pathlib.Path) -> list[tuple[str, str]]:
    """Return version and tag of every release, in order."""
    named = [(match[1], match[0]) for match in map(TAG.match, git(repository, "tag").split()) if match]
    return sorted(named, key=lambda pair: order(pair[0]))


def in_sources(repository: pathlib.Path, tag: str) -> Iterator[Found]:
    """Yield the variables that a release reads."""
    folders = ("src", "plugins", "ext-tuner", "ext-profiler", "ext-net")
    listed = git(repository, "grep", "-lE", 'NCCL_PARAM|"NCCL_[A-Z0-9_]+"', tag, "--", *folders)
    for path in listed.split():
        file = path.partition(":")[2]
        if pathlib.PurePath(file).suffix not in (".cc", ".h", ".cu", ".c", ".cpp"):
            continue
        text = re.sub(r"^\s*//.*$", "", git(repository, "show", path), flags=re.M)
        for match in PARAM.finditer(text):
            yield Found(f"NCCL_{match[1]}", "param", plain(match[2]), "", "", "no", file)
        for match in DEFINED.finditer(text):
            yield Found(match[1], "defined", plain(match[2]), "", "", "no", file)
        if "test" in file or "docs/" in file:
            continue
        for name in QUOTED.findall(text):
            if not NOT_VARIABLES.search(name):
                yield Found(name, "getenv", "", "", "", "no", file)


def plain(default: str) -> str:
    """Return a default as a number where it is one; a macro's name stays, and ``undefined`` is no default."""
    text = re.sub(r"/\*.*?\*/", "", " ".join(default.split())).strip()
    if re.fullmatch(r"[\d\s()*<+-]+(?:LL)?[\d\s()*<+-]*", text):
        return str(product(text.replace("LL", "").replace("(", "").replace(")", "")))
    return "" if text in UNDEFINED else MACROS.get(text, text)


def product(text: str) -> int:
    """Return ``512 << 10`` or ``8 * 1024 * 1024`` as a number."""
    left, shift, right = text.partition("<<")
    return math.prod(int(part) for part in left.split("*")) << (int(right) if shift else 0)


def add(found: dict[str, Found], one: Found, version: str) -> None:
    before = found.get(one.name)
    one.first = before.first if before else version
    one.last = version
    if before and before.last == version and one.how == "getenv":
        before.how = before.how if "getenv" in before.how else f"{before.how} getenv"
        return  # a parameter that is also asked for by name, or a second place
    found[one.name] = one


def strings(path: pathlib.Path) -> set[str]:
    return {match.decode() for match in STRING.findall(path.read_bytes())}


def add_library(found: dict[str, Found], version: str, names: set[str], known: set[str]) -> None:
    """Note which variables a library has; of the names no source had, those that the table has are variables."""
    newest = max((one.last for one in found.values()), key=order)
    for name, one in found.items():
        plugin = name.startswith(PLUGINS) and one.last == newest
        if name in names or plugin:
            one.last = version
    for name in sorted((names & known) - set(found)):
        found[name] = Found(name, "library", "", version, version, "no", "")


def table_rows() -> dict[str, dict[str, str]]:
    if not TABLE.is_file():
        return {}
    return {row["name"]: row for row in csv.DictReader(io.StringIO(TABLE.read_text(encoding="utf-8")))}


def updated(row: dict[str, str], one: Found, newest: str) -> dict[str, str]:
    """Return a row of the table with its facts as they were found."""
    facts = {
        "name": one.name,
        "default": one.default if one.how.startswith(("param", "defined")) else row.get("default", ""),
        "since": one.first or row.get("since", ""),
        "until": ("" if one.last == newest else one.last) or (row.get("until", "") if not one.last else ""),
        "documented": one.documented,
        "source": one.file or row.get("source", ""),
    }
    if one.how in ("param", "defined"):  # kept for the process; the log's variables too, by NCCL's debug state
        facts["read"] = "process"
    return {column: facts.get(column, row.get(column, "")) for column in COLUMNS}


def checked(known: dict[str, dict[str, str]], rows: list[dict[str, str]]) -> int:
    wrong = [row["name"] for row in rows if known.get(row["name"]) != row]
    for name in wrong:
        print(f"{TABLE}: {name} is not as found; run this script without --check")
    return 1 if wrong else 0


def csv_text(columns: tuple[str, ...], rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
