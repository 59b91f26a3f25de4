"""What ran, as NCCL's log tells it."""

import pathlib

import pytest

from ncclprobe.inspect import nccl_log
from ncclprobe.inspect.source import Source
from ncclprobe.names import LinkLayer
from ncclprobe.records.inspect import Choice, LogHca, Plugin

DATA = pathlib.Path(__file__).parent.parent / "data" / "inspect"


def read(text):
    reading = nccl_log.read(Source("log", text))
    assert reading is not None
    return reading.documents[0], [finding.code for finding in reading.findings]


def read_file(name):
    return read((DATA / name).read_text())


def line(message, host="n1", pid=10, tid=11):
    return f"{host}:{pid}:{tid} [0] NCCL INFO {message}\n"


def test_all_ranks_of_2_12():
    log, codes = read_file("nccl_2_12_two_nodes_no_gdr.log")
    assert (log.version, log.nranks, log.nnodes, log.nchannels) == ("2.12.12", 4, 2, 2)
    assert log.hosts == ("alder01", "alder02")
    assert log.transports == {"P2P/IPC": 4, "NET/IB": 8}
    assert log.gdr is False
    assert log.hcas == tuple(LogHca(name=name, port=1, link=LinkLayer.INFINIBAND) for name in ("mlx5_0", "mlx5_1"))
    assert log.env == {"NCCL_IB_HCA": "=mlx5_0,mlx5_1"}
    assert log.plugins == (Plugin(kind="net", name="libnccl-net.so", loaded=False),)
    assert codes == ["no-gdr"]


def test_one_rank_of_2_28():
    log, codes = read_file("nccl_2_28_rank0.log")
    assert (log.version, log.nranks, log.nnodes) == ("2.28.9", 16, 2)
    assert log.nchannels == 16, "the smaller communicator has 32"
    assert log.transports == {"NET/IB": 17, "P2P/CUMEM": 16}
    assert log.gdr is True
    assert [hca.name for hca in log.hcas] == ["mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"]
    assert log.env["NCCL_IB_HCA"] == "=mlx5_0,mlx5_1,mlx5_2,mlx5_3"
    assert log.env["NCCL_MIN_NCHANNELS"] == "16"
    assert Plugin(kind="tuner", name="nccl_ofi_tuner", loaded=True) in log.plugins
    assert codes == ["tuner-plugin", "symmetric-kernels"]


def test_choices_are_distinct_and_counted():
    choices = read_file("nccl_2_28_rank0.log")[0].choices
    assert choices == (
        Choice(collective="all_reduce", size_bytes=1024, algo="Tree", proto="LL", nchannels=1, count=2),
        Choice(collective="all_reduce", size_bytes=65536, algo="Tree", proto="LL128", nchannels=8),
        Choice(collective="all_reduce", size_bytes=8388608, algo="Ring", proto="Simple", nchannels=16),
        Choice(collective="reduce_scatter", size_bytes=4096, algo="Ring", proto="LL"),
        Choice(collective="all_gather", size_bytes=262144, algo="NVLS", proto="Simple", nchannels=24),
        Choice(collective=None, size_bytes=4194304, algo="Ring", proto="Simple"),
    )


def test_failures_and_warnings_are_told_apart():
    log, codes = read_file("nccl_failures.log")
    assert [failure.code for failure in log.errors] == [
        "ib-completion-error",
        "ib-completion-error",
        "socket-failure",
        "cuda-failure",
        "duplicate-gpu",
        "nccl-failure",
        "system-error",
    ]
    assert "status=12" in log.errors[0].text and "vendor err 129" in log.errors[0].text
    assert [(caution.text[:20], caution.count) for caution in log.warnings] == [
        ("Call to bind failed:", 1),
        ("[Service thread] Acc", 1),
        ("Something that no li", 1),
        ("NET/IB : Attempted t", 1),
        ("Call to connect retu", 2),
        ("[cedar1:0:11 - conte", 1),
    ]
    assert codes.count("nccl-error") == 6
    assert {"nccl-version-mix", "mixed-link-layers"} <= set(codes)


def test_the_cause_is_named_before_its_echo():
    text = "".join(
        f"h:1:2 [0] transport/net_ib.cc:1 NCCL WARN NET/IB: Got completion from peer 1.2.3.4<5> with status={status} "
        "opcode=1 len=0 vendor err 1 (Recv)\n"
        for status in (5, 12)
    )
    finding = nccl_log.read(Source("log", text)).findings[0]
    assert "status=12" in finding.message
    assert finding.hint.startswith("status 12 is a retry count exceeded")


def test_wrapped_lines_are_joined():
    log, codes = read_file("nccl_socket_wrapped.log")
    assert [hca.name for hca in log.hcas] == ["mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3"]
    assert log.transports == {"NET/Socket": 2}
    assert log.gdr is False
    assert codes == ["socket-despite-ib"]


def test_a_completion_error_in_two_lines_keeps_its_figures():
    said = (
        "NCCL WARN NET/IB : Got completion from peer 10.0.0.5<3> with error 12, opcode 0, len\n0, vendor err 129 (Recv)"
    )
    text = f"h:1:2 [0] net_ib.cc:1 {said}\n"
    (failure,) = read(text)[0].errors
    assert failure.text.endswith("opcode 0, len 0, vendor err 129 (Recv)")
    assert failure.host == "h"


@pytest.mark.parametrize(
    ("via", "name"),
    [
        ("P2P/IPC/read", "P2P/IPC"),
        ("P2P/CUMEM", "P2P/CUMEM"),
        ("P2P/MNNVL", "P2P/MNNVL"),
        ("P2P/direct pointer/read", "P2P/direct pointer"),
        ("P2P/indirect/3[5e000]/read", "P2P/indirect"),
        ("SHM/direct/direct", "SHM/direct"),
        ("direct shared memory", "direct shared memory"),
        ("NET/IB/0(3)/GDRDMA", "NET/IB"),
        ("NET/AWS Libfabric/2/GDRDMA/Shared", "NET/AWS Libfabric"),
        ("NET/IBext_v8/1", "NET/IBext_v8"),
    ],
)
def test_transports_have_nccl_s_own_words(via, name):
    assert read(line(f"Channel 00/0 : 0[0] -> 1[1] via {via}"))[0].transports == {name: 1}


def test_collnet_is_a_connection_over_the_network():
    log = read(line("CollNet 00/0 : 3 [send] via COLLNET/SHARP/0/GDRDMA"))[0]
    assert (log.transports, log.gdr) == ({"COLLNET/SHARP": 1}, True)


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [
        ("NCCL_BUFFSIZE set by environment to 4194304.", "NCCL_BUFFSIZE", "4194304"),
        ("NCCL_SOCKET_IFNAME set by environment to ^docker0,lo", "NCCL_SOCKET_IFNAME", "^docker0,lo"),
        ("NCCL_IB_HCA set to =mlx5_0:1", "NCCL_IB_HCA", "=mlx5_0:1"),
    ],
)
def test_variables(message, name, value):
    assert read(line(message))[0].env == {name: value}


@pytest.mark.parametrize("message", ["Comm config nvlinkCentricSched set to 1", "P2P Chunksize set to 131072"])
def test_what_is_set_inside_nccl_is_no_variable(message):
    assert read(line(message))[0].env == {}


@pytest.mark.parametrize(
    ("message", "plugin"),
    [
        ("P2P plugin v8 IBext_v8", ("net", "IBext_v8", True)),
        ("Using network AWS Libfabric", ("net", "AWS Libfabric", True)),
        ("NET/Plugin: Loaded net plugin Libfabric (v10)", ("net", "Libfabric", True)),
        ("NET/Plugin: Loaded collnet plugin SHARP (v8)", ("collnet", "SHARP", True)),
        ("TUNER/Plugin: Using tuner plugin mine", ("tuner", "mine", True)),
        (
            "TUNER/Plugin: Could not find: libnccl-tuner.so. Using internal tuner plugin.",
            ("tuner", "libnccl-tuner.so", False),
        ),
        (
            "TUNER/Plugin: Plugin load returned 2 : libnccl-net.so: cannot open shared object file: No such file or "
            "directory : when loading libnccl-tuner.so",
            ("tuner", "libnccl-tuner.so", False),
        ),
        ("PROFILER/Plugin: Could not find: libnccl-profiler.so", ("profiler", "libnccl-profiler.so", False)),
        (
            "NET/Plugin : Plugin load (libnccl-net.so) returned 2 : libnccl-net.so: cannot",
            ("net", "libnccl-net.so", False),
        ),
        ("Successfully loaded external tuner plugin /opt/x/libnccl-net.so", ("tuner", "/opt/x/libnccl-net.so", True)),
        ("NET/OFI Initializing aws-ofi-nccl 1.13.2-aws", ("net", "aws-ofi-nccl 1.13.2-aws", True)),
    ],
)
def test_plugins(message, plugin):
    kind, name, loaded = plugin
    assert read(line(message))[0].plugins == (Plugin(kind=kind, name=name, loaded=loaded),)


@pytest.mark.parametrize(
    "message", ["Using network IB", "TUNER/Plugin: Using internal tuner plugin.", "Initialized NET plugin Socket"]
)
def test_what_nccl_brings_along_is_no_plugin(message):
    assert read(line(message))[0].plugins == ()


def test_a_network_s_own_name_stands_for_its_plugin():
    assert read(line("NET/FasTrak plugin initialized"))[0].plugins == (Plugin(kind="net", name="FasTrak", loaded=True),)


@pytest.mark.parametrize(
    ("said", "failed"), [("Unable to talk to the moon", True), ("Talking to the moon", False)], ids=["error", "warning"]
)
def test_a_warn_at_the_end_is_judged_by_its_words(said, failed):
    log = read(f"h:1:2 [0] graph/moon.cc:1 NCCL WARN {said}\n")[0]
    assert [failure.code for failure in log.errors] == (["nccl-failure"] if failed else [])
    assert len(log.warnings) == 1 - len(log.errors)


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        ("Got async event : client reregistration", False),
        ("Got async event : LID change", False),
        ("Got async error event: port active", False),
        ("Got async error event: port error", True),
        ("Got non-fatal async event: SM change(14)", False),
        ("GID table changed", False),
        ("Got async event : local catastrophic error", True),
        ("Got non-fatal async event: port error(10)", True),
    ],
)
def test_events_of_the_fabric_that_nccl_lives_with_are_no_errors(event, failed):
    log = read(f"h:1:2 [0] transport/net_ib.cc:101 NCCL WARN NET/IB : mlx5_3:1 {event}\n")[0]
    assert [failure.code for failure in log.errors] == (["ib-async-event"] if failed else [])


@pytest.mark.parametrize(
    "said",
    [
        "transport/nvls.cc:3 (nvlsAllocateMem) NCCL WARN Failed to bind NVLink SHARP (NVLS) Multicast memory of size 2 "
        ": CUDA error 401 'the operation cannot be performed in the present state'.",
        "transport/nvls.cc:244 NCCL WARN Cuda failure 1 'invalid argument'",
    ],
)
def test_refused_multicast_is_an_error_of_the_fabric(said):
    (finding,) = nccl_log.read(Source("log", f"h:1:2 [0] {said}\n")).findings
    assert finding.message.startswith("nvls-failure")
    assert "NCCL_NVLS_ENABLE=0" in finding.hint


def test_hcas_of_two_link_layers_that_meet_are_an_error():
    text = (
        "h:1:2 [0] transport/net_ib.cc:1 NCCL WARN NET/IB : Remote RoCE device is incompatible with the local "
        "[0]mlx5_0:1/IB. Try selecting NICs of only one link type using NCCL_IB_HCA\n"
    )
    (finding,) = nccl_log.read(Source("log", text)).findings
    assert finding.message.startswith("link-layer-mismatch")
    assert "NCCL_IB_HCA" in finding.hint


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        ("NET/Socket : message truncated : receiving 96 bytes instead of 32", "message-truncated", "NCCL_PROTO"),
        ("NET/IB : req 0/1 tag 3 peer n<5> collective mismatch error, local size 8", "message-truncated", "NCCL_PROTO"),
        ("failed to open CUDA IPC handle : 217 peer access is not supported", "cuda-failure", "NCCL_P2P_DISABLE"),
        ("Cuda failure 2 'out of memory'", "cuda-failure", "--mem-fraction-static"),
        ("Multiple Ranks are using the same GPU/Partition.", "duplicate-gpu", "CUDA_VISIBLE_DEVICES"),
        ("NCCL library is too old. This application was compiled with 2.30", "version-mismatch", "libnccl"),
        ("socketFinalizeAccept from n2<5>: wrong type 1 != 3", "socket-failure", "peer"),
        (
            "NET/OFI Request 0x7f completed with error. RC: 103. Error: 4126 (Unresponsive receiver)",
            "ofi-completion-error",
            "security group",
        ),
        ("Call to ibv_create_qp failed with error Cannot allocate memory", "ib-failure", "memlock"),
        ("Error: network AWS Libfabric not found.", "network-not-found", "NCCL_NET"),
        ("Error: network  not found.", "network-not-found", "NCCL_NET"),
        ("Bootstrap Root : rank 1 of 8 ranks has already checked in", "rank-mismatch", "RANK"),
        ("Bootstrap Root : mismatch in rank count from procs 8 : 16", "rank-mismatch", "WORLD_SIZE"),
        (
            "Error while attaching to shared memory segment /dev/shm/nccl-a1 (size 14156128), error: No such file (2)",
            "shared-memory-absent",
            "--ipc=host",
        ),
        (
            "Error while creating shared memory segment /dev/shm/nccl-a1 (size 9637888), error: No space left (28)",
            "shared-memory-failure",
            "--shm-size",
        ),
    ],
)
def test_a_failure_has_the_hint_of_its_cause(said, code, hint):
    finding = nccl_log.read(Source("log", f"h:1:2 [0] somewhere.cc:1 NCCL WARN {said}\n")).findings[0]
    assert finding.message.startswith(f"{code}, ")
    assert hint in finding.hint


def test_what_pytorch_repeats_of_nccl_s_last_error_is_the_cause():
    text = (
        "[rank1]: DistBackendError: NCCL error in: NCCLUtils.cpp:93, unhandled cuda error, NCCL version 2.27.5\n"
        "[rank1]: ncclUnhandledCudaError: Call to CUDA function failed.\n"
        "[rank1]: Last error:\n"
        "[rank1]: Cuda failure 'peer access is not supported between these two devices'\n"
    )
    findings = nccl_log.read(Source("log", text)).findings
    assert [finding.message.partition(",")[0] for finding in findings] == ["unhandled-cuda-error", "cuda-failure"]
    assert "Last error" in findings[0].hint
    assert len(read(text.partition("[rank1]: Cuda")[0] + "\nException raised from\n")[0].errors) == 2


def test_a_traceback_s_source_lines_are_no_errors():
    text = line("cudaDriverVersion 12040") + 'raise errors.Failed(f"NCCL error: {error_str}")\n'
    assert read(text)[0].errors == ()
    for source in (text.rstrip(), text.partition('f"')[0] + "\\n"):  # a collector may put a traceback into one line
        (failure,) = read(f"{source} errors.Failed: NCCL error: unhandled cuda error\n")[0].errors
        assert failure.code == "unhandled-cuda-error"


def test_a_stranger_at_nccl_s_port_stops_nothing():
    log = read("h:1:2 [0] misc/socket.cc:483 NCCL WARN socketFinalizeAccept: wrong magic 5 != 7\n")[0]
    assert (log.errors, len(log.warnings)) == ((), 1)


def test_errors_stand_in_the_log_s_order():
    text = (
        "h:1:2 [0] graph/moon.cc:1 NCCL WARN Unable to talk to the moon\n"
        "h:1:9 [1] misc/socket.cc:1 NCCL WARN socketProgress: Connection closed by remote peer n2<5>\n"
        "h:1:2 [0] NCCL INFO init.cc:1014 -> 3\n"
    )
    assert [failure.code for failure in read(text)[0].errors] == ["nccl-failure", "socket-failure"]


def test_the_tries_of_one_connection_are_one_warning():
    text = "".join(
        line(f"socketPollConnect: connect to n<5> returned No route, retrying ({n}/34) after sleep for {n} msec")
        for n in (1, 2, 3)
    )
    (caution,) = read(text)[0].warnings
    assert (caution.text[-8:], caution.count) == ("retrying", 3)


def test_a_communicator_that_ends_without_a_warn_is_an_error():
    codes = "misc/socket.cc:505 -> 2 (In progress)", "init.cc:1493 -> 2", "group.cc:64 -> 2 [Async thread]"
    text = line("include/net.h:24 -> 2") + line("Using network IB") + "".join(map(line, codes))
    (failure,) = read(text)[0].errors
    assert (failure.code, failure.text) == ("socket-failure", codes[0])
    cause = "n1:10:19 [0] proxy.cc:1 NCCL WARN [Proxy Service] Poll failed: Bad file descriptor\n"
    assert [failure.code for failure in read(text + cause)[0].errors] == ["proxy-failure"]
    caution = "n1:10:11 [0] graph/tuning.cc:1 NCCL WARN NUMA auto balancing enabled\n"
    assert [failure.code for failure in read(caution + text)[0].errors] == ["socket-failure"]
    assert read(line("include/net.h:24 -> 2"))[0].errors == ()


@pytest.mark.parametrize("code", ["init.cc:1014 (ncclCommInitRankFunc) -> 3", "/build/src/init.cc:1014 -> 3"])
def test_a_return_code_with_its_function_or_an_absolute_path_is_one(code):
    text = f"h:1:2 [-1] NCCL WARN Talking to the moon\nh:1:2 [-1] NCCL INFO {code}\n"
    assert [failure.code for failure in read(text)[0].errors] == ["nccl-failure"]


@pytest.mark.parametrize(
    "said",
    [
        "Failed to open libibverbs.so[.1]",
        "Could not find real path of /sys/class/net/eth0/device",
        "NET/OFI aws-ofi-nccl initialization failed",
    ],
)
def test_a_network_that_is_not_there_stops_nothing(said):
    log = read(f"h:1:2 [0] misc/ibvwrap.cc:63 NCCL WARN {said}\n")[0]
    assert (log.errors, len(log.warnings)) == ((), 1), "a log with NCCL_DEBUG=WARN has no return codes to decide by"


def test_a_gpu_whose_place_is_not_found_is_no_absent_network():
    text = "h:1:2 [0] NCCL WARN Could not find real path of /sys/class/pci_bus/0001:00/../../0001:00:00.0\n"
    assert [failure.code for failure in read(text)[0].errors] == ["nccl-failure"]


def test_two_messages_in_one_line_are_two():
    text = line("Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM").rstrip() + line(
        "Channel 00/0 : 1[1] -> 0[0] via SHM/direct", host="n2"
    )
    log = read(text)[0]
    assert log.hosts == ("n1",), "a host glued to another message is not believed"
    assert log.transports["SHM/direct"] == 1


def test_nothing_is_invented():
    log, codes = read(line("cudaDriverVersion 12040"))
    assert (log.version, log.nranks, log.nnodes, log.gdr, log.nchannels) == (None,) * 5
    assert (log.hcas, log.transports, log.env, log.plugins, log.errors) == ((), {}, {}, (), ())
    assert codes == []


def test_nnodes_is_open_where_ranks_are_missing():
    text = line("comm 0x1 rank 0 nranks 3 cudaDev 0 busId 1000 - Init COMPLETE") + line(
        "comm 0x2 rank 1 nranks 3 cudaDev 0 busId 1000 - Init COMPLETE", host="n2"
    )
    assert read(text)[0].nnodes is None
    third = line("comm 0x3 rank 2 nranks 3 cudaDev 1 busId 2000 - Init COMPLETE", host="n2")
    assert read(text + third)[0].nnodes == 2


def test_communicators_that_were_split_off_are_told_apart():
    text = "".join(
        line(
            f"ncclCommSplit comm 0x1 rank {rank} nranks 2 cudaDev 0 nvmlDev 0 busId 1000 parent 0x1 splitCount 1 "
            f"color {host} key 0 - Init COMPLETE",
            host=f"n{host}",
        )
        for rank, host in ((0, 1), (1, 2), (0, 2), (1, 1))
    )
    assert read(text)[0].nnodes == 1


def test_an_empty_list_of_hcas_is_empty():
    log = read(line("NET/IB : No device found.") + line("NET/IB : Using [RO]; OOB eth0:10.0.0.1<0>"))[0]
    assert log.hcas == ()


@pytest.mark.parametrize(
    ("said", "codes"),
    [
        (("Disabled for HCA 0 'mlx5_0'", "Disabled for HCA 1 'mlx5_1'"), ["no-gdr"]),
        (("Disabled for HCA 0 'mlx5_0'", "Enabled for HCA 1 'mlx5_1'"), []),
        (("Disabled for HCA 0 'mlx5_0' (no module)",), []),
    ],
)
def test_gdr_refused_to_every_hca_is_said_without_connections(said, codes):
    text = "".join(line(f"NET/IB : GPU Direct RDMA {words}") for words in said)
    log, found = read(text)
    assert (log.gdr, found) == (None, codes)
    assert read(text + line("Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM"))[1] == [], "no data goes to another node"


def test_partial_gdr_is_said():
    text = line("Channel 00/0 : 0[0] -> 8[0] [send] via NET/IB/0/GDRDMA") + line(
        "Channel 01/0 : 0[0] -> 8[0] [send] via NET/IB/1"
    )
    log, codes = read(text)
    assert log.gdr is True
    assert codes == ["gdr-partial"]


def test_ranks_with_different_settings_are_said():
    text = line("NCCL_ALGO set by environment to RING") + line("NCCL_ALGO set by environment to TREE", host="n2")
    assert read(text)[1] == ["env-differs"]
    hosts = "".join(line(f"NCCL_HOSTID set by environment to {host}", host=host) for host in ("n1", "n2"))
    assert read(hosts)[1] == [], "it is there to differ"


def test_an_idle_network_plugin_is_said():
    text = (
        line("NET/OFI Initializing aws-ofi-nccl 1.16.2")
        + "n1:10:11 [0] ncclResult_t nccl_net_ofi_init_v6(ncclDebugLogger_t):166 NCCL WARN "
        "NET/OFI Initializing plugin failed\n" + line("Using network Socket")
    )
    log, codes = read(text)
    assert codes == ["net-plugin-unused"]
    assert log.warnings[0].text == "NET/OFI Initializing plugin failed"


def test_an_unfinished_start_is_said():
    text = line("comm 0x1 rank 0 nranks 2 cudaDev 0 busId 1000 commId 0x5 - Init START")
    assert read(text)[1] == ["init-incomplete"]


def test_other_texts_are_no_log():
    assert nccl_log.read(Source("x", "NCCL is a library\nsglang is using nccl==2.27.3\n")) is None


def test_a_large_log_reads_as_its_small_one(monkeypatch):
    text = (DATA / "nccl_2_12_two_nodes_no_gdr.log").read_text()
    whole = read(text)[0]
    monkeypatch.setattr("ncclprobe.inspect.nccl_lines._CHUNK", 700)
    assert read(text)[0] == whole
