"""What a choice is predicted to save: on small worlds with a known truth, and as a user calls it."""

import json
import math
import pathlib

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner
from sweep_worlds import POINTS, RING, SIZES, raced, world

from ncclprobe.cli.report import command as report_command
from ncclprobe.cli.schema import document_schema
from ncclprobe.cli.sweep import command
from ncclprobe.errors import UsageError
from ncclprobe.records.base import Interval
from ncclprobe.records.e2e import E2eDocument, E2eVerdict
from ncclprobe.records.prediction import LeftOut, Weight, Workload
from ncclprobe.records.sweep import SweepDocument
from ncclprobe.sweep import prediction, summary
from ncclprobe.tuner.choose import choose

ROOT = pathlib.Path(__file__).parents[2]
FABRIC = ROOT / "data" / "fabric_nvlink_model" / "fabric.toml"
PROFILE = ROOT / "tests" / "data" / "profile"


def weight(size: int, count: int) -> Weight:
    return Weight(size_bytes=size, operations=count, equivalent=float(count), sizes=1, low_bytes=size, high_bytes=size)


def workload(**changes) -> Workload:
    weights = tuple(weight(size, 100) for size in SIZES[:3])
    return Workload(source="log", collective="all_reduce", weights=weights).with_(**changes)


@pytest.fixture(scope="module")
def race():
    """Return a race in which Ring is 1.25 times as fast at 1M, and nothing else differs."""
    return raced(world({(SIZES[2], RING): 1.25}))


def test_what_is_saved_is_what_the_world_holds(race):
    found = prediction.predicted(race, workload())
    assert found is not None
    default = 10.0 + SIZES[2] / 1e5
    true = 100 * default * (1 - 1 / 1.25)
    assert found.saved_us.low <= true <= found.saved_us.high
    assert found.saved_us.low <= found.saved_us.estimate <= found.saved_us.high
    assert [one.saved_us.estimate > 0 for one in found.sizes] == [False, False, True]
    assert math.isclose(found.saved_share.estimate, found.saved_us.estimate / found.time_us)
    assert (found.saved_per_step_us, found.end_to_end) == (None, None)


def test_a_step_and_the_end_to_end_gain_follow(race):
    plain = prediction.predicted(race, workload())
    part = LeftOut(what="all_gather", operations=3, share=0.25)
    found = prediction.predicted(race, workload(steps=20, comm_share=0.4, left_out=(part,)))
    assert plain is not None
    assert found is not None
    assert found.saved_per_step_us is not None
    assert math.isclose(found.saved_per_step_us.estimate, plain.saved_us.estimate / 20)
    assert found.end_to_end is not None
    assert math.isclose(found.end_to_end.estimate, 1 / (1 - 0.4 * 0.75 * plain.saved_share.estimate))
    assert 1 < found.end_to_end.low < found.end_to_end.estimate < found.end_to_end.high


def test_the_gain_is_weighed_by_the_time_spent(race):
    alone = summary.gain(race, prediction.weights(race, workload(weights=(weight(SIZES[2], 1),))))
    assert alone == race.ratios[POINTS[2], RING]
    assert 1 < summary.gain(race, prediction.weights(race, workload())).ratio < alone.ratio


def test_nothing_is_saved_by_keeping_the_defaults():
    found = prediction.predicted(raced(world()), workload(comm_share=0.5))
    assert found is not None
    assert (found.saved_us, found.saved_share) == (prediction.NOTHING, prediction.NOTHING)
    assert found.end_to_end is not None
    assert (found.end_to_end.low, found.end_to_end.high) == (1.0, 1.0)


def test_what_is_not_measured_is_said_where_it_matters():
    assert prediction.doubts(workload(left_out=(LeftOut(what="all_gather", operations=1, share=0.04),))) == ()
    (found,) = prediction.doubts(workload(left_out=(LeftOut(what="all_gather", operations=1, share=0.3),)))
    assert (found.code, "all_gather 30%" in found.message) == ("profile-partly", True)


# ---- as a user calls it


def swept(*arguments):
    done = CliRunner().invoke(command, [*map(str, arguments), "--json"], standalone_mode=False)
    if done.exception:
        raise done.exception
    document = json.loads(done.stdout)
    jsonschema.validate(document, document_schema("sweep"))
    return document


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Return a log with 2 MiB messages, at which that fabric has a gain of 19 %, and a few of 8 bytes."""
    path = tmp_path_factory.mktemp("profile") / "nccl.log"
    line = (
        "h:1:1 [0] NCCL INFO AllReduce: opCount {0:x} sendbuff 0x1 recvbuff 0x2 count {1} datatype 7 op 0 root 0 "
        "comm 0x3 [nranks=2] stream 0x4\n"
    )
    path.write_text("".join(line.format(i, 524288) for i in range(300)) + "".join(line.format(i, 2) for i in range(50)))
    return path


def test_a_log_says_what_is_swept_and_what_it_gives(log, tmp_path):
    run = tmp_path / "run"
    document = swept("--profile", log, "--fabric", FABRIC, "--seed", "1", "--out", run)
    assert sorted({cell["size_bytes"] for cell in document["cells"]}) == [8, 2 << 20]
    found = document["prediction"]
    assert [(one["size_bytes"], one["operations"]) for one in found["sizes"]] == [(8, 50), (2 << 20, 300)]
    assert found["workload"]["left_out"] == []
    saved = found["saved_us"]
    truth = 300 * (17.2 - 17.2 / 1.188)
    assert saved["low"] < truth * 1.05
    assert saved["high"] > truth * 0.95
    gain = document["choice"]["gain"]
    assert (document["choice"]["verdict"], gain["low"] > 1.1) == ("change", True)
    text = CliRunner().invoke(report_command, [str(run)], standalone_mode=False).stdout
    assert "over the workload's sizes" in text
    assert "Predicted: " in text
    page = tmp_path / "page.html"
    CliRunner().invoke(report_command, [str(run), "--html", str(page)], standalone_mode=False)
    assert "Predicted: " in page.read_text()


def test_a_share_of_communication_gives_the_gain_end_to_end(log, tmp_path):
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "nccl.log").write_bytes(log.read_bytes())
    table = '"Time (%)","Total Time (ns)","Instances","Name"\n'
    table += '40.0,4000,350,"ncclDevKernel_AllReduce_Sum_f32_RING_LL(x)"\n60.0,6000,100,"gemm"\n'
    (folder / "kernels.csv").write_text(table)
    found = swept("--profile", folder, "--fabric", FABRIC, "--seed", "1", "--out", tmp_path / "run")["prediction"]
    assert found["workload"]["comm_share"] == 0.4
    share, end = found["saved_share"], found["end_to_end"]
    assert math.isclose(end["estimate"], 1 / (1 - 0.4 * share["estimate"]))
    assert 1.0 < end["low"] < end["high"] < 1.1


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ((1.03, 1.01, 1.06), "the intervals overlap"),
        ((0.99, 0.98, 0.995), "which is less"),
        ((2.0, 1.9, 2.1), "which is more"),
    ],
)
def test_a_report_shows_the_prediction_beside_what_was_measured(ratio, said, race, tmp_path):
    found = prediction.predicted(race, workload(comm_share=0.4))
    estimate, low, high = ratio
    sweep = SweepDocument(
        backend="sim", library="world", nranks=4, nnodes=2, launches=3, seed=1, cells=summary.cell_results(race),
        choice=choose(race.plan.points, race.winners, race.ratios, summary.gain(race), lambda *_: {}),
        cost=summary.cost(race), prediction=found,
    )  # fmt: skip
    e2e = E2eDocument(
        workload="sglang", metric="tok_s", baseline={}, candidate={}, trials=(), verdict=E2eVerdict.FASTER,
        ratio=Interval(estimate=estimate, low=low, high=high), trials_per_arm=8,
    )  # fmt: skip
    paths = [tmp_path / "sweep.json", tmp_path / "e2e.json"]
    for path, document in zip(paths, (sweep, e2e), strict=True):
        path.write_bytes(msgspec.json.encode(document))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(report_command, [*map(str, paths), "--html", str(page)], standalone_mode=False)
    assert said in " ".join(done.stdout.split())
    assert said in page.read_text()


def test_what_was_weighed_is_kept_for_a_resume(log, tmp_path):
    run = tmp_path / "run"
    first = swept("--profile", log, "--fabric", FABRIC, "--seed", "1", "--out", run)
    again = swept("--resume", run)
    assert (again["cells"], again["prediction"]) == (first["cells"], first["prediction"])


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--sizes", "8"), "do not go together"),
        (("--env", "NCCL_NTHREADS=256"), "do not go together"),
        (("--collective", "broadcast"), "has no broadcast"),
    ],
)
def test_what_contradicts_a_profile_is_refused(extra, said, log):
    with pytest.raises(UsageError, match=said):
        swept("--profile", log, "--fabric", FABRIC, *extra)


def test_a_profile_without_messages_is_refused(tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("call the vendor\n")
    with pytest.raises(UsageError, match="no messages"):
        swept("--profile", notes, "--fabric", FABRIC)


@pytest.mark.mpi
def test_real_ranks_measure_a_workloads_sizes(tmp_path):
    document = swept("--profile", PROFILE / "nccl_coll_two_ranks.log", "--backend", "mpi", "--nranks", "2",
                     "--budget", "2", "--seed", "1", "--out", tmp_path / "run")  # fmt: skip
    sizes = [cell["size_bytes"] for cell in document["cells"] if cell["algo"] == "default"]
    assert sizes == [14336, 28672, 57344, 4300800]
    assert document["prediction"]["time_us"] > 0
    assert [one["operations"] for one in document["prediction"]["sizes"]] == [12, 12, 12, 4]
