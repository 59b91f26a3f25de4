from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncclprobe.errors import MissingDependencyError, UsageError
from ncclprobe.launchers import LAUNCHERS, make_launcher, pbs
from ncclprobe.launchers.base import Job, python_job
from ncclprobe.launchers.channel import frame, unframe
from ncclprobe.launchers.endings import describe_end, telling
from ncclprobe.launchers.local import LocalLauncher
from ncclprobe.launchers.mpirun import Flavour, MpirunLauncher, flavour_of
from ncclprobe.launchers.pbs import PbsLauncher, parse_nodefile
from ncclprobe.launchers.srun import SrunLauncher, allocated_cpus
from ncclprobe.ranks import RankInfo, rank_from

PLAIN = Job(program=("python", "-m", "m"), nranks=4)
SRUN = "srun --ntasks 4 --kill-on-bad-exit=1 --input=0 --unbuffered --distribution block"
SPREAD = PLAIN.with_(hosts=("a", "b"), env=(("X", "1, 2"), ("Y", "")))


@pytest.mark.parametrize(
    ("launcher", "job", "tokens"),
    [
        (LocalLauncher("mpiexec", Flavour.HYDRA), PLAIN, "mpiexec -launcher fork -rmk user -n 4 python -m m"),
        (
            LocalLauncher("mpiexec", Flavour.OPEN_MPI),
            PLAIN,
            "mpiexec --mca plm isolated --mca ras ^slurm,tm,lsf,gridengine --oversubscribe -n 4 python -m m",
        ),
        (MpirunLauncher("mpiexec", Flavour.HYDRA), PLAIN, "mpiexec -n 4 python -m m"),
        (
            MpirunLauncher("mpiexec", Flavour.HYDRA),
            PLAIN.with_(ranks_per_host=2),
            "mpiexec -ppn 2 -n 4 python -m m",
        ),
        (
            MpirunLauncher("mpiexec", Flavour.HYDRA),
            SPREAD,
            "mpiexec -hosts a,b -ppn 2 -genv X|1, 2|-genv Y||-n 4 python -m m",
        ),
        (
            MpirunLauncher("mpirun", Flavour.OPEN_MPI),
            SPREAD,
            "mpirun --oversubscribe --host a:2,b:2 -x|X=1, 2|-x Y= -n 4 python -m m",
        ),
        (
            MpirunLauncher("mpirun", Flavour.OPEN_MPI),
            PLAIN.with_(ranks_per_host=1),
            "mpirun --oversubscribe --map-by ppr:1:node -n 4 python -m m",
        ),
        (
            SrunLauncher("srun", "pmi2"),
            SPREAD,
            f"{SRUN} --mpi=pmi2 --nodes 2 --nodelist a,b --ntasks-per-node 2 env|X=1, 2|Y= python -m m",
        ),
        (
            SrunLauncher("srun", None),
            PLAIN,
            f"{SRUN} env python -m m",
        ),
        (
            SrunLauncher("srun", None, (1, 2)),
            PLAIN,
            f"{SRUN} --nodes 2 --overlap --overcommit env python -m m",
        ),
        (
            SrunLauncher("srun", None, (2, 2)),
            PLAIN,
            f"{SRUN} --nodes 2 --overlap env python -m m",
        ),
        (
            SrunLauncher("srun", None, (4, 1)),
            PLAIN.with_(ranks_per_host=2),
            f"{SRUN} --nodes 2 --ntasks-per-node 2 --overlap --overcommit env python -m m",
        ),
        (
            PbsLauncher("mpiexec", Flavour.HYDRA, ("n1", "n2")),
            PLAIN,
            "mpiexec -rmk user -hosts n1,n2 -ppn 2 -n 4 python -m m",
        ),
        (
            PbsLauncher("mpiexec", Flavour.OPEN_MPI, ("n1", "n2")),
            PLAIN.with_(hosts=("n2",)),
            "mpiexec --oversubscribe --host n2:4 -n 4 python -m m",
        ),
    ],
)
def test_commands(launcher, job: Job, tokens: str) -> None:
    """A ``|`` separates tokens around those with a blank in them or none at all."""
    expected = [
        token
        for index, part in enumerate(tokens.split("|"))
        for token in ([part] if "|" in tokens and index in _whole(tokens) else part.split())
    ]
    assert launcher.command(job) == expected


def _whole(tokens: str) -> set[int]:
    return {index for index, part in enumerate(tokens.split("|")) if part in ("1, 2", "X=1, 2", "")}


def test_ranks_are_spread_evenly_rounded_up() -> None:
    assert PLAIN.with_(nranks=5, hosts=("a", "b")).per_host == 3
    assert PLAIN.per_host == 4


def test_local_does_not_take_hosts() -> None:
    with pytest.raises(UsageError, match="not on a; use --launcher mpirun"):
        LocalLauncher("mpiexec", Flavour.HYDRA).command(SPREAD)


def test_local_does_not_take_a_clusters_ranks() -> None:
    LocalLauncher("mpiexec", Flavour.HYDRA).command(PLAIN.with_(nranks=1024))
    with pytest.raises(UsageError, match="1025 ranks on this machine alone; it takes at most 1024"):
        LocalLauncher("mpiexec", Flavour.HYDRA).command(PLAIN.with_(nranks=1025))


def test_pbs_takes_its_own_hosts_only() -> None:
    with pytest.raises(UsageError, match="a is not among this PBS job's hosts: n1"):
        PbsLauncher("mpiexec", Flavour.HYDRA, ("n1",)).command(SPREAD)


def test_srun_takes_the_hosts_of_its_allocation_only() -> None:
    message = r"a is not among this Slurm job's hosts: n\[1-2\]; name some of these with --hosts, and go on"
    with pytest.raises(UsageError, match=message):
        SrunLauncher("srun", None, (2, 2), ("n1", "n2")).command(SPREAD)


def test_pbs_needs_a_job(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("PBS_NODEFILE", raising=False)
    with pytest.raises(UsageError, match="PBS_NODEFILE is not set"):
        make_launcher("pbs")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "gone"))
    with pytest.raises(UsageError, match="cannot read PBS_NODEFILE"):
        make_launcher("pbs")


def test_pbs_reads_its_hosts(monkeypatch, tmp_path) -> None:
    (tmp_path / "nodes").write_text("n2\nn2\nn1\n")
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    monkeypatch.setattr(pbs, "find_mpiexec", lambda: "/bin/true")
    assert make_launcher("pbs").command(PLAIN)[3:7] == ["-hosts", "n2,n1", "-ppn", "2"]


@pytest.mark.parametrize(
    ("text", "cpus"), [("", ()), ("4", (4,)), ("8(x2),4", (8, 8, 4)), ("1,72(x3)", (1, 72, 72, 72))]
)
def test_cpus_of_an_allocation(text: str, cpus: tuple[int, ...]) -> None:
    assert allocated_cpus({"SLURM_JOB_CPUS_PER_NODE": text}) == cpus
    assert allocated_cpus({}) == ()


def test_srun_absent(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingDependencyError, match="no srun on PATH"):
        make_launcher("srun")


def test_unknown_launcher_lists_the_known() -> None:
    with pytest.raises(UsageError, match=f"choose from {', '.join(LAUNCHERS)}"):
        make_launcher("ssh")


def test_nodefile() -> None:
    assert parse_nodefile("n2\nn2\n\nn1\nn2\n") == ("n2", "n1")


@pytest.mark.parametrize(
    ("text", "flavour"),
    [
        ("mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/", Flavour.OPEN_MPI),
        ("HYDRA build details:\n    Version:  4.3.0", Flavour.HYDRA),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9", Flavour.HYDRA),
    ],
)
def test_flavours(text: str, flavour: Flavour) -> None:
    assert flavour_of(text) is flavour


def test_python_jobs_find_this_package_and_keep_to_one_thread(monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/site")
    job = python_job("m", ["--x"], nranks=2, env=(("A", "b"),))
    env = dict(job.env)
    assert job.program[1:] == ("-m", "m", "--x")
    assert env["PYTHONPATH"].endswith(":/site")
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["A"] == "b"


@pytest.mark.parametrize(
    ("environment", "info"),
    [
        ({}, None),
        ({"PMI_RANK": "x"}, None),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1"}, (3, 4, 1)),
        (
            {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
            (0, 2, 0),
        ),
        ({"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}, (5, 8, 1)),
        ({"PMIX_RANK": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}, (5, 8, 1)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "PMI_RANK": "2", "PMI_SIZE": "4"}, (2, 4, None)),
        ({"PBS_TASKNUM": "2"}, (1, None, None)),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, (1, 2, 1)),
    ],
)
def test_which_rank(environment: dict[str, str], info: tuple[int, int | None, int | None] | None) -> None:
    expected = None if info is None else RankInfo(rank=info[0], nranks=info[1], local_rank=info[2])
    assert rank_from(environment) == expected


HYDRA_END = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
=   {rank}PID 4711 RUNNING AT node3
=   EXIT CODE: {code}
=   CLEANING UP REMAINING PROCESSES
=   YOU CAN IGNORE THE BELOW CLEANUP MESSAGES
===================================================================================
"""


@pytest.mark.parametrize(
    ("status", "output", "expected"),
    [
        (9, HYDRA_END.format(rank="RANK 2 ", code=9), "rank 2 on node3 ended with exit status 9"),
        (3, HYDRA_END.format(rank="", code=3), "a rank (process 4711) on node3 ended with exit status 3"),
        (
            9,
            HYDRA_END.format(rank="", code=9)
            + "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Segmentation fault (signal 11)",
            "a rank (process 4711) on node3: Segmentation fault (signal 11)",
        ),
        (
            137,
            "mpirun noticed that process rank 2 with PID 0 on node n7 exited on signal 9 (Killed).",
            "rank 2 on n7: signal 9 (Killed)",
        ),
        (
            1,
            "  Process name: [[22715,1],3]\n  Exit code:    1",
            "rank 3 ended with exit status 1",
        ),
        (1, "srun: error: n4: task 6: Exited with exit code 1", "rank 6 on n4: Exited with exit code 1"),
        (
            1,
            "Traceback …\nncclprobe: rank 1 on n4: ValueError: no\n" + HYDRA_END.format(rank="", code=9),
            "rank 1 on n4: ValueError: no",
        ),
        (-15, "", "the launcher ended with signal SIGTERM"),
        (255, "", "the launcher ended with exit status 255"),
    ],
)
def test_how_it_ended(status: int, output: str, expected: str) -> None:
    assert describe_end(status, output.splitlines()) == expected


def test_only_what_says_something_is_told() -> None:
    output = [*HYDRA_END.format(rank="", code=1).splitlines(), *(f"line {i}" for i in range(12)), ""]
    assert telling(output) == [f"line {i}" for i in range(4, 12)]


def test_hydras_stack_is_told_only_where_nothing_else_is() -> None:
    stack = ["[mpiexec@a] HYDU_sock_connect (sock.c:1): unable to connect", "[proxy:0@a] main (pmip.c:2): error"]
    assert telling(stack) == stack
    assert telling([*stack, "a rank says why"]) == ["a rank says why"]


def test_what_ssh_says_is_told_rather_than_that_hydras_proxy_failed() -> None:
    why = "ssh: Could not resolve hostname n9: Name or service not known"
    assert telling([why, "[mpiexec@a] ui_cmd_cb (/mpich/src/pmiserv_pmci.c:51): Launch proxy failed."]) == [why]


@given(st.binary().filter(lambda b: b"\n" not in b and b"\x1e" not in b and not b.endswith(b"\r")), st.text("ab \t|:"))
def test_records_are_found_behind_anything(payload: bytes, noise: str) -> None:
    assert unframe(noise.encode() + frame(payload)) == payload


@pytest.mark.parametrize("line", [b"", b"plain\n", b'{"json": 1}\n'])
def test_other_lines_are_no_records(line: bytes) -> None:
    assert unframe(line) is None
