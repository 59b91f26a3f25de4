import pathlib

import pytest

from ncclprobe.cli.e2e_arms import measured_by
from ncclprobe.e2e.sweep_environment import again, differences, environment_of, sweep_doubts
from ncclprobe.records.e2e import SglangOptions, Trial, TrialStatus
from ncclprobe.records.in_force import Change, InForce, Variable

DATA = pathlib.Path(__file__).parents[2] / "data"
SEEN = InForce(
    logs=1,
    variables=(
        Variable(name="NCCL_CUMEM_ENABLE", change=Change.ADDED, wanted=None, seen="0", processes=2),
        Variable(name="NCCL_IB_HCA", change=Change.DROPPED, wanted="=mlx5_0", seen=None, processes=2),
    ),
)


def trial(**env):
    return Trial(
        arm="candidate", order=0, status=TrialStatus.OK, metrics={}, effective={"env": env}, started="", seconds=1.0
    )


def test_what_was_seen_counts_more_than_what_was_set():
    env = environment_of(trial(NCCL_IB_HCA="=mlx5_0", NCCL_NVLS_ENABLE="0"), SEEN)
    assert env == {"NCCL_CUMEM_ENABLE": "0", "NCCL_IB_HCA": None, "NCCL_NVLS_ENABLE": "0"}


@pytest.mark.parametrize(
    ("sweep", "trials", "found"),
    [
        ({"NCCL_NVLS_ENABLE": "0"}, {"NCCL_NVLS_ENABLE": "0"}, ()),
        ({"NCCL_NVLS_ENABLE": "0"}, {}, (("NCCL_NVLS_ENABLE", "0", None),)),
        ({}, {"NCCL_CUMEM_ENABLE": "0", "NCCL_DEBUG": "INFO", "SGLANG_X": "1", "NCCL_VERSION": "2"},
         (("NCCL_CUMEM_ENABLE", None, "0"),)),
        ({}, {"NCCL_MIN_NCHANNELS": "32", "NCCL_TUNER_PLUGIN": "/x.so"}, ()),
    ],
)  # fmt: skip
def test_variables_are_compared_but_not_the_arms_own(sweep, trials, found):
    assert differences(sweep, trials, ["NCCL_MIN_NCHANNELS"]) == found


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (("x", "sweep", "--algo", "Tree", "--out", "a b"), "env -u NCCL_B NCCL_A='1 2' ncclprobe sweep --algo Tree"),
        (("x", "sweep", "--out=a", "--sizes", "8;9"), "env -u NCCL_B NCCL_A='1 2' ncclprobe sweep --sizes '8;9'"),
        ((), "env -u NCCL_B NCCL_A='1 2' ncclprobe sweep"),
    ],
)
def test_the_command_sweeps_with_the_trials_variables(argv, command):
    assert again(argv, [("NCCL_A", None, "1 2"), ("NCCL_B", "x", None)]) == command


def test_a_sweep_with_the_same_variables_is_no_doubt():
    manifest = measured_by(["NCCL_X=1", str(DATA / "h200_sglang_202611" / "sweep")])
    options = SglangOptions(measured_env=manifest.environment, measured_argv=manifest.argv)
    ran = trial(NCCL_NVLS_ENABLE="0", NCCL_MIN_NCHANNELS="32")
    assert list(sweep_doubts(ran, SEEN, ["NCCL_MIN_NCHANNELS"], options)) == []
    assert list(sweep_doubts(ran, SEEN, [], SglangOptions())) == []


def test_a_document_alone_says_nothing_of_variables():
    assert measured_by([str(DATA / "h200_sglang_202611" / "sweep" / "document.json")]) is None
    assert measured_by(["NCCL_X=1"]) is None
