"""Which environment variables does SGLang know, from which release to which?

    python scripts/sglang_variables.py sglang-0.4.6-*.whl ... sglang-0.5.23-*.whl

The wheels are those of the releases to compare (`pip download --no-deps sglang==0.5.23`). Writes
ncclprobe/tuner/sglang_variables.csv: every name with SGLang's prefixes in its Python files. ``since`` is the first of
these releases with the name, ``until`` the last one, empty where the newest has it. Names alone are taken.
"""

from __future__ import annotations

import csv
import pathlib
import re
import sys
import zipfile

TABLE = pathlib.Path(__file__).parents[1] / "ncclprobe/tuner/sglang_variables.csv"
NAME = re.compile(r"\b(?:SGLANG|SGL)_[A-Z][A-Z0-9_]*[A-Z0-9]\b")


def main(wheels: list[str]) -> int:
    releases = sorted((order(path), path) for path in wheels)
    seen: dict[str, list[str]] = {}
    for release, path in releases:
        for name in names(pathlib.Path(path)):
            seen.setdefault(name, []).append(".".join(map(str, release)))
    newest = ".".join(map(str, releases[-1][0]))
    with TABLE.open("w", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", "since", "until"))
        for name, where in sorted(seen.items()):
            writer.writerow((name, where[0], "" if where[-1] == newest else where[-1]))
    print(f"{len(seen)} names in {len(releases)} releases up to {newest}")
    return 0


def order(path: str) -> tuple[int, ...]:
    version = pathlib.PurePath(path).name.split("-")[1]
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def names(path: pathlib.Path) -> set[str]:
    with zipfile.ZipFile(path) as wheel:
        files = [name for name in wheel.namelist() if name.endswith(".py")]
        return {name for file in files for name in NAME.findall(wheel.read(file).decode("utf-8", "replace"))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
