"""Does NWChem's wall time change with another MPI setting? Two water molecules over the network of two hosts.

    python scripts/nwchem_example.py --out run [--candidate UCX_RNDV_THRESH=0] [--trials 10]

The hosts are namespaces of this machine, as in the tests: it takes root, Debian's iproute2, openssh-server,
nwchem-mpich and mpich.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "cluster"))
from testbed import Cluster, missing  # type: ignore[import-not-found]

ROOT = pathlib.Path(__file__).resolve().parents[1]
INPUT = ROOT / "data" / "nwchem_2cores_202611" / "water2.nw"
METRIC = r"Total times +cpu: +[0-9.]+s +wall: +(?P<wall_s>[0-9.]+)s"
LIMIT_S = 1800.0
KEPT = ("manifest.json", "journal.jsonl", "document.json", "report.txt")


def validated(cluster: Cluster, candidate: str, trials: int) -> int:
    """Compare the candidate with MPICH's defaults; the run lies in ``run`` of the cluster's folder."""
    shutil.copy(INPUT, cluster.folder)
    nwchem = ["mpiexec.mpich", "-hosts", ",".join(cluster.names), "-ppn", "1", "-n", "2", "nwchem.mpich", INPUT.name]
    compare = ["--workload", "command", "--metric", METRIC, "--lower-is-better", "--candidate", candidate]
    limits = ["--trials", str(trials), "--timeout", "120", "--budget", "450", "--seed", "1", "--out", "run"]
    command = ["ncclprobe", "validate-e2e", *compare, *limits, "--", *nwchem]
    ended = cluster.run(
        "node1",
        ["env", f"--chdir={cluster.folder}", *command],
        timeout_s=LIMIT_S,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    print(ended.stdout, ended.stderr, sep="\n")
    (cluster.folder / "run" / "report.txt").write_text(ended.stdout)
    return int(ended.status)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--candidate", default="UCX_RNDV_THRESH=0")
    parser.add_argument("--trials", type=int, default=10)
    asked = parser.parse_args()
    absent = [name for name in ("nwchem.mpich", "mpiexec.mpich") if shutil.which(name) is None]
    if why := missing() or (absent and f"{absent[0]} is missing: apt-get install nwchem-mpich mpich"):
        sys.exit(why)
    with Cluster(2) as cluster:
        status = validated(cluster, asked.candidate, asked.trials)
        asked.out.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            if (cluster.folder / "run" / name).exists():
                shutil.copy(cluster.folder / "run" / name, asked.out)
    return status


if __name__ == "__main__":
    sys.exit(main())
