import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script import Dialect
from ncclprobe.tuner.script_text import environment_script, read_script


def codes(text, source="job.sh", version=""):
    found = lint(read_script(text, source), catalog(), version)
    return [(int(one.subject.rpartition(":")[2]), one.severity.value, one.code) for one in found]


def messages(text, source="job.sh", version=""):
    return [one.message for one in lint(read_script(text, source), catalog(), version)]


RUN = "\n./train\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("export nccl_debug=INFO", [(1, "error", "unknown-variable")]),
        ("Nccl_Debug=INFO ./a", [(1, "error", "unknown-variable")]),
        ("nccl_debug=INFO", []),
        ("export nccl_debug=INFO; export NCCL_DEBUG=$nccl_debug", []),
        ("export nccl_mine=1", []),
        ("NCCL_ALGO = Ring", [(1, "error", "assignment-syntax")]),
        ("NCCL_ALGO =Ring", [(1, "error", "assignment-syntax")]),
        ("export NCCL_ALGO = Ring", [(1, "error", "assignment-syntax")]),
        ("export NCCL_IB_DISABLE= 1", [(1, "error", "assignment-syntax")]),
        ("export NCCL_DEBUG= NCCL_ALGO=Ring", []),
        ("export NCCL_DEBUG NCCL_ALGO", []),
        ("[ $NCCL_ALGO = Ring ] && test NCCL_ALGO = Ring", []),
        ("MINE = 1", []),
        ("export NCCL_P2P_NVL_DISABLE=0", [(1, "error", "unknown-variable")]),
        ("export NCCL_QUANTUM=1", [(1, "warning", "unknown-variable")]),
        ("export NCCL_TIMEOUT=1800", [(1, "warning", "unknown-variable")]),
        ("export NCCL_SOCKET_TIMEOUT_MS=360000", [(1, "warning", "unknown-variable")]),
        ("export NCCL_CHECK_DISABLE=1", [(1, "warning", "unknown-variable")]),
        ("export NCCL_HOME=/opt/nccl", []),
        ("export NCCL_ASYNC_ERROR_HANDLING=1", []),
        ("export NCCL_FASTRAK_IFNAME=eth1", []),
        ("export NCCL_MINE=1; echo $NCCL_MINE", []),
        ("export SGL_ENABLE_JIT_DEEPGEMM=1", []),
        ("export SGLANG_USE_MODEL_SCOPE=1", [(1, "error", "unknown-variable")]),
        ("export NCCL_IB_DISABLE=yes", [(1, "error", "value-invalid")]),
        ("export NCCL_IB_DISABLE=0x1", []),
        ("export NCCL_IB_DISABLE=", []),
        ("export NCCL_IB_DISABLE=$OFF", []),
        ("OFF=yes; export NCCL_IB_DISABLE=$OFF", [(1, "error", "value-invalid")]),
        ("export NCCL_CROSS_NIC=3", [(1, "warning", "value-out-of-range")]),
        ("export NCCL_NTHREADS=100", [(1, "warning", "value-out-of-range")]),
        ("export NCCL_NET_GDR_LEVEL=PXB", []),
        ("export NCCL_NET_GDR_LEVEL=5", []),
        ("export NCCL_NET_GDR_LEVEL=pxb", [(1, "error", "value-invalid")]),
        ("export NCCL_DEBUG=info", []),
        ("export NCCL_DEBUG=VERBOSE", [(1, "error", "value-invalid")]),
        ("export NCCL_SET_THREAD_NAME=true", []),
        ("export NCCL_DEBUG_SUBSYS=^NET,INIT", []),
        ("export NCCL_IB_HCA=mlx5_0,mlx5_3", []),
        ("export NCCL_IB_HCA=mlx5", []),
        ("export NCCL_IB_HCA='=mlx5_0, mlx5_1'", [(1, "error", "value-invalid")]),
        ("export NCCL_IB_HCA='^ mlx5_0'", [(1, "error", "value-invalid")]),
        ("export NCCL_IB_HCA='=mlx5_0: 1'", []),
        ("export NCCL_SOCKET_IFNAME='eth0 ,eth1'", [(1, "error", "value-invalid")]),
        ("export NCCL_IB_HCA==mlx5_1,mlx5_10", []),
        ("export NCCL_IB_HCA=mlx5_1", [(1, "info", "ib-hca-prefix")]),
        ("export NCCL_IB_HCA=mlx5_2,mlx5_20", [(1, "warning", "ib-hca-prefix")]),
        ("export NCCL_ALGO=Ring", []),
        ("export NCCL_ALGO=Ring,Tree", []),
        ("export NCCL_ALGO=^Tree", []),
        ("export NCCL_ALGO=allreduce:tree", []),
        ("export NCCL_ALGO='ring;allreduce:tree'", []),
        ("export NCCL_ALGO=Tree", [(1, "warning", "algo-without-collective")]),
        ("export NCCL_ALGO=^Ring", [(1, "warning", "algo-without-collective")]),
        ("export NCCL_ALGO=Collnet", [(1, "error", "value-invalid")]),
        ("export NCCL_ALGO=allreduces:tree", [(1, "error", "value-invalid")]),
        ("export NCCL_PROTO=Simple", []),
        ("export NCCL_PROTO=^LL128", []),
        ("export NCCL_PROTO=LL,Simple", []),
        ("export NCCL_PROTO=^LL", [(1, "warning", "ll128-forced")]),
        ("export NCCL_PROTO=LL,LL128,Simple", [(1, "warning", "ll128-forced")]),
        ("export NCCL_PROTO=allreduce:ll128", [(1, "warning", "ll128-forced")]),
        ("export NCCL_PROTO=LL64", [(1, "error", "value-invalid")]),
        ("export NCCL_IB_CUDA_SUPPORT=1", [(1, "warning", "variable-no-more")]),
    ],
)
def test_one_setting(line, expected):
    assert codes(line + RUN) == expected


@pytest.mark.parametrize(
    ("line", "version", "expected"),
    [
        ("export NCCL_CTA_POLICY=1", "2.26.2", [(1, "warning", "variable-not-yet")]),
        ("export NCCL_CTA_POLICY=1", "2.27.3", []),
        ("export NCCL_CTA_POLICY=1", "2.27", []),
        ("export NCCL_WORK_FIFO_DEPTH=1024", "2.21.5", []),
        ("export NCCL_WORK_FIFO_DEPTH=1024", "2.22.3", [(1, "warning", "variable-no-more")]),
        ("export NCCL_WORK_FIFO_DEPTH=1024", "", []),
        ("export NCCL_ALGO=Tree", "2.24.3", [(1, "error", "algo-without-collective")]),
    ],
)
def test_versions(line, version, expected):
    assert codes(line + RUN, version=version) == expected


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("NCCL_IB_DISABLE=1 NCCL_IB_HCA==mlx5_0", "warning"),
        ("NCCL_IB_DISABLE=0 NCCL_IB_HCA==mlx5_0", None),
        ("NCCL_NET=Socket NCCL_IB_GID_INDEX=3", "warning"),
        ("NCCL_IB_DISABLE=1 NCCL_NET=IB", "error"),
        ("NCCL_P2P_DISABLE=1 NCCL_P2P_LEVEL=NVL", "warning"),
        ("NCCL_P2P_DISABLE=0 NCCL_P2P_LEVEL=NVL", None),
        ("NCCL_NET_GDR_LEVEL=LOC NCCL_NET_GDR_READ=1", "warning"),
        ("NCCL_MIN_NCHANNELS=16 NCCL_MAX_NCHANNELS=8", "warning"),
        ("NCCL_MIN_CTAS=8 NCCL_MAX_CTAS=8", None),
        ("NCCL_SOCKET_NTHREADS=16 NCCL_NSOCKS_PERTHREAD=8", "warning"),
        ("NCCL_IB_GID_INDEX=3 NCCL_IB_ADDR_FAMILY=AF_INET6", "warning"),
        ("NCCL_IB_GID_INDEX=-1 NCCL_IB_ADDR_FAMILY=AF_INET6", None),
        ("NCCL_NVLS_ENABLE=0 NCCL_ALGO=allreduce:nvls", "error"),
        ("NCCL_NVLS_ENABLE=0 NCCL_ALGO=nvls,ring", "warning"),
        ("NCCL_NVLS_ENABLE=0 NCCL_ALGO=ring,tree", None),
        ("NCCL_MNNVL_ENABLE=1 NCCL_CUMEM_ENABLE=0", "error"),
    ],
)
def test_contradictions(pair, expected):
    expectation = [(1, expected, "settings-contradict")] if expected else []
    assert codes(f"export {pair}{RUN}") == expectation
    assert codes(f"{pair} ./train\n./other\n") == expectation


def test_settings_of_different_commands_or_branches_do_not_contradict_each_other():
    assert codes("NCCL_IB_DISABLE=1 ./a\nNCCL_IB_HCA==mlx5_0 ./a\n") == []
    branches = "if x; then\nexport NCCL_IB_DISABLE=1\n./a\nelse\nexport NCCL_IB_HCA==mlx5_0\n./a\nfi\n"
    assert codes(branches) == []
    assert codes("( export NCCL_P2P_DISABLE=1; ./a )\nexport NCCL_P2P_LEVEL=NVL\n./a\n") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("export NCCL_DEBUG=INFO\necho hello\nexport NCCL_DEBUG=WARN\n./a\n", [(1, "warning", "setting-overridden")]),
        ("export NCCL_DEBUG=INFO\n./a\nexport NCCL_DEBUG=WARN\n./a\n", []),
        ("export NCCL_DEBUG=INFO\nexport NCCL_DEBUG=INFO\n./a\n", []),
        ("export NCCL_DEBUG=WARN\nif x; then export NCCL_DEBUG=INFO; fi\n./a\n", []),
        ("export NCCL_DEBUG=WARN\n[ -n $V ] && export NCCL_DEBUG=INFO\n./a\n", []),
        ("export NCCL_DEBUG=A\nunset NCCL_DEBUG\nexport NCCL_DEBUG=WARN\n./a\n", []),
        ("mpirun -np 2 -x NCCL_DEBUG=INFO -x NCCL_DEBUG=WARN ./a\n", [(1, "warning", "setting-overridden")]),
        ("export NCCL_DEBUG=INFO\nmpirun -np 2 -x NCCL_DEBUG=WARN ./a\n", [(1, "warning", "setting-overridden")]),
        ("mpirun -np 2 -x NCCL_DEBUG=INFO ./a\nmpirun -np 2 -x NCCL_DEBUG=WARN ./a\n", []),
        ("if x; then\nmpirun -x NCCL_DEBUG=INFO ./a\nelse\nmpirun -x NCCL_DEBUG=WARN ./a\nfi\n", []),
        ("NCCL_DEBUG=INFO ./a\nmpirun -np 2 -x NCCL_DEBUG=WARN ./a\n", []),
        ("if x; then\nexport NCCL_DEBUG=INFO\nelse\nmpirun -x NCCL_DEBUG=WARN ./a\nfi\n", []),
        ("NCCL_DEBUG=INFO\n./a\n", [(1, "warning", "variable-not-exported")]),
        ("NCCL_DEBUG=INFO\nexport NCCL_DEBUG\n./a\n", []),
        ("NCCL_DEBUG=INFO\nmpirun -x NCCL_DEBUG=$NCCL_DEBUG ./a\n", []),
        ("set -a\nNCCL_DEBUG=INFO\nset +a\n./a\n", []),
        ("declare -x NCCL_DEBUG=INFO\n./a\n", []),
    ],
)  # fmt: skip
def test_order_and_export(text, expected):
    assert codes(text) == expected


EXPORT = "export NCCL_DEBUG=WARN\n"
DROPPED = {"error": [(2, "error", "launcher-drops")], "warning": [(2, "warning", "launcher-drops")], None: []}


@pytest.mark.parametrize(
    ("command", "severity"),
    [
        ("srun ./a", None),
        ("srun --export=NONE ./a", "error"),
        ("srun --export=HOME,PATH ./a", "error"),
        ("srun --export=NCCL_DEBUG,PATH ./a", None),
        ("srun --export=ALL,X=1 ./a", None),
        ("srun --export=$WHAT ./a", None),
        ("mpirun -np 16 ./a", None),
        ("mpirun -np 16 -x LD_LIBRARY_PATH ./a", None),
        ("mpirun -np 16 -H a:8,b:8 -x LD_LIBRARY_PATH ./a", "warning"),
        ("mpirun -np 16 -H a:8,b:8 ./a", None),
        ("mpirun -np 8 -H localhost:8 -x LD_LIBRARY_PATH ./a", None),
        ("mpirun -np 16 -H a:8,b:8 -x NCCL_DEBUG ./a", None),
        ("mpirun $OPTIONS -H a:8,b:8 -x PATH ./a", None),
        ("mpirun -x NCCL_IB_TC=106 -np 16 ./a", None),
        ("mpirun -x NCCL_IB_TC=106 -np 16 -H $HOSTS ./a", "warning"),
        ("mpiexec -n 4 -ppn 2 -hosts a,b ./a", None),
        ("mpiexec -genvnone -n 4 ./a", "error"),
        ("mpiexec -genvnone -genvlist NCCL_DEBUG -n 4 ./a", None),
        ("ssh node2 'python train.py'", "warning"),
        ('ssh node2 "cd $PWD; torchrun train.py"', "warning"),
        ("ssh node2 'NCCL_DEBUG=WARN python train.py'", None),
        ("ssh node2 'source env.sh && python train.py'", None),
        ("ssh node2 hostname", None),
        ('ssh node2 "$COMMAND"', None),
        ("docker run image python x.py", "warning"),
        ("docker run -e NCCL_DEBUG image python x.py", None),
        ("docker run --env-file f image python x.py", None),
        ("docker run $FLAGS image python x.py", None),
        ("docker build .", None),
        ("singularity exec --nv image.sif python x.py", None),
        ("apptainer exec --cleanenv image.sif python x.py", "warning"),
        ("qsub job.pbs", "warning"),
        ("qsub -V job.pbs", None),
        ("sbatch job.sh", None),
        ("sbatch --export=ALL,MODEL=$MODEL job.sh", None),
        ("sbatch --export=$NAMES job.sh", None),
        ("sbatch --export=NONE job.sh", "error"),
        ("./a", None),
    ],
)
def test_launchers(command, severity):
    assert codes(EXPORT + command + "\n") == DROPPED[severity]


def test_a_job_without_environment():
    job = "#SBATCH --export=NONE\nexport NCCL_DEBUG=WARN\n{}srun ./a\n"
    assert codes(job.format("")) == [(3, "error", "launcher-drops")]
    assert codes(job.format("export SLURM_EXPORT_ENV=ALL; ")) == []
    assert codes(job.format("unset SLURM_EXPORT_ENV; ")) == []
    assert codes("#SBATCH --export=NONE\nexport NCCL_DEBUG=WARN\nsrun --export=ALL ./a\n") == []


def test_in_a_batch_job_open_mpi_hands_all_to_its_daemons_unless_told_to_use_ssh():
    job = "#SBATCH --nodes=2\nexport NCCL_DEBUG=WARN\nmpirun {} -H a,b -x PATH ./a\n"
    assert codes(job.format("")) == []
    assert codes(job.format("--mca plm rsh")) == [(3, "warning", "launcher-drops")]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("./all_reduce_perf -b 8", []),
        ("./all_reduce_perf; ./broadcast_perf", [(1, "warning", "algo-without-collective")]),
        ("./all_reduce_perf; python x.py", [(1, "warning", "algo-without-collective")]),
        ("./alltoall_perf", [(1, "warning", "algo-without-collective")]),
    ],
)
def test_an_algorithm_for_the_one_collective_that_runs_needs_no_name(program, expected):
    assert codes(f"export NCCL_ALGO=Tree\n{program}\n") == expected


def test_messages_name_what_is_lost_and_what_to_write():
    text = "export NCCL_ALGO=Ring NCCL_DEBUG=WARN\nsrun --export=NONE ./a\n"
    assert messages(text) == ["NCCL_ALGO, NCCL_DEBUG are lost here: --export=NONE passes nothing on"]


def test_findings_inside_heredocs_commands_and_continued_lines_carry_their_own_line():
    document = "cat > job.sh <<'EOF'\nexport NCCL_P2P_NVL_DISABLE=1\nEOF\n"
    text = f"{document}bash -c 'true\nNCCL_IBX_HCA=1 ./a'\nmpirun \\\n  -x NCCL_DEBUGG=1 ./a\n"
    assert [line for line, _, _ in codes(text)] == [2, 5, 7]


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("export nccl_debug=INFO", "names are read in capitals, so nccl_debug does nothing", "write NCCL_DEBUG"),
        (
            "NCCL_ALGO = Ring",
            "the blanks around = make this no assignment, so NCCL_ALGO is not set to Ring",
            "write NCCL_ALGO=Ring",
        ),
        (
            "export NCCL_IB_DISABLE= 1",
            "the blanks around = make this no assignment, so NCCL_IB_DISABLE is not set to 1",
            "write export NCCL_IB_DISABLE=1",
        ),
    ],
)
def test_what_looks_like_a_setting_gets_its_right_form(line, message, hint):
    found = lint(read_script(line + RUN, "job.sh"), catalog())
    assert [(one.message, one.hint) for one in found] == [(message, hint)]


def test_blanks_in_a_list_of_devices_are_parts_of_names():
    found = lint(read_script("export NCCL_IB_HCA='mlx5_0, mlx5_1'\n", "job.sh"), catalog())
    assert [(one.code, one.message, one.hint) for one in found] == [
        (
            "value-invalid",
            "NCCL_IB_HCA=mlx5_0, mlx5_1: NCCL takes the blanks for parts of the names, so ' mlx5_1' names nothing",
            "write NCCL_IB_HCA=mlx5_0,mlx5_1",
        ),
        (
            "ib-hca-prefix",
            "mlx5_1 is a prefix and takes mlx5_10 to mlx5_19 too, where a node has them",
            "write NCCL_IB_HCA==mlx5_0,mlx5_1, whose names match exactly",
        ),
    ]


@pytest.mark.parametrize(
    "command",
    [
        "cat > nccl.conf <<EOF", "cat <<-'EOF' >> $HOME/.nccl.conf", "cat <<EOF > /etc/nccl.conf 2> log",
        "cat <<EOF | sudo tee /etc/nccl.conf > /dev/null", "ssh node1 'cat > /etc/nccl.conf' <<EOF",
        "cat > nccl.conf <<EOF || exit 1", "mkdir -p etc && cat > etc/nccl.conf <<EOF && ./b",
    ],
)  # fmt: skip
def test_a_heredoc_that_goes_into_nccl_conf_is_read_as_one(command):
    text = f"#!/bin/bash\n{command}\nNCCL_ALGO=foo\n\nexport NCCL_IB_TC=1\nNCCL_DEBUG=WARN\nNCCL_DEBUG=INFO\nEOF\n./a\n"
    assert codes(text) == [
        (3, "error", "value-invalid"), (5, "error", "conf-syntax"), (7, "warning", "setting-overridden"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo NCCL_ALGO=foo > /etc/nccl.conf", [(1, "error", "value-invalid")]),
        ("echo -e 'NCCL_ALGO=ring\\nNCCL_IB_HCAS=mlx5_0' >> ~/.nccl.conf", [(1, "error", "unknown-variable")]),
        ('printf "NCCL_DEBUG = INFO\\n" >> "$HOME/.nccl.conf"', [(1, "error", "conf-syntax")]),
        ('echo "NCCL_IB_HCA=$HCAS" > nccl.conf', []),
        ("echo NCCL_ALGO=Ring > /etc/nccl.conf 2>&1", []),
        ("echo NCCL_ALGO=Ring 1> /etc/nccl.conf 2>/dev/null", []),
        ("printf 'NCCL_ALGO=%s\\n' Ring > /etc/nccl.conf", []),
        ("printf '%s\\n' NCCL_DEBUG=INFO NCCL_ALGO=foo > /etc/nccl.conf", [(1, "error", "value-invalid")]),
        ("printf 'NCCL_IB_TC=%d\\n' 106 > nccl.conf", []),
        ("echo NCCL_ALGO=foo > notes.txt", []),
        ("echo NCCL_ALGO=foo", []),
    ],
)
def test_what_is_echoed_into_nccl_conf_is_read(command, expected):
    assert codes(f"{command}\n./a\n") == expected


def test_arithmetic_assigns_no_variable_of_nccls():
    text = (
        "if (( NCCL_NTHREADS = 300 )); then ./a; fi\nfor (( NCCL_ALGOS=0; NCCL_ALGOS<3; NCCL_ALGOS++ )); do ./a; done\n"
    )
    assert codes(text) == []
    subshells = "((cd x; NCCL_ALGOS=1 ./a) && (cd y; ./b))\n((cd x; NCCL_ALGOS=1 ./a) )\n"
    assert codes(subshells) == [(1, "error", "unknown-variable"), (2, "error", "unknown-variable")]
    loop = "for ((i=0; i<8; i++)) do NCCL_ALGO=foo ./a; done\n((i++)) || NCCL_ALGOS=1 ./a\n"
    assert codes(loop) == [(1, "error", "value-invalid"), (2, "error", "unknown-variable")]


def test_two_heredocs_of_a_line_go_to_their_commands():
    text = "cat <<A >nccl.conf && bash <<B\nNCCL_ALGO=foo\nA\nNCCL_PROTO=LLL ./a\nB\n"
    assert codes(text) == [(2, "error", "value-invalid"), (4, "error", "value-invalid")]


def test_what_a_shell_puts_into_a_conf_file_is_not_judged():
    document = 'NCCL_IB_HCA="$HCAS"\n$(settings)\nEOF\n./a\n'
    assert codes(f"cat > nccl.conf <<EOF\n{document}") == []
    assert codes(f"cat > nccl.conf <<'EOF'\n{document}") == [(2, "error", "conf-syntax"), (3, "error", "conf-syntax")]


def test_a_shell_that_is_told_of_a_conf_file_reads_its_heredoc_itself():
    text = "ssh n NCCL_CONF_FILE=/etc/nccl.conf bash <<EOF\nexport NCCL_ALGO=foo\nEOF\n"
    assert codes(text) == [(2, "error", "value-invalid")]


def test_a_conf_file_of_a_script_that_tests_one_collective_needs_no_name():
    assert codes("cat > nccl.conf <<EOF\nNCCL_ALGO=Tree\nEOF\n./all_reduce_perf\n") == []


def test_text_of_a_heredoc_that_no_shell_reads_is_left_alone():
    assert codes("cat <<EOF\nexport NCCL_ALGO=foo\nEOF\ncat > notes.txt <<EOF\nNCCL_ALGO=foo\nEOF\n./a\n") == []


def test_text_that_is_no_setting_is_left_alone():
    assert codes("# export NCCL_FOO=1\necho NCCL_FOO=1\ngrep NCCL_FOO=1 log\necho 'export NCCL_FOO=1'\n") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    - NCCL_ALGO=Tree", [(3, "warning", "algo-without-collective")]),
        ("    NCCL_ALGO: Tree", [(3, "warning", "algo-without-collective")]),
        ("    - {name: NCCL_ALGO, value: Tree}", [(3, "warning", "algo-without-collective")]),
        ("    - name: NCCL_ALGO\n      value: 'Tree'  # why", [(3, "warning", "algo-without-collective")]),
        ("    - name: NCCL_ALGO\n      value: $(CHOSEN)", []),
        ('    args: ["mpirun -x NCCL_ALGO=Tree ./a"]', [(3, "warning", "algo-without-collective")]),
        ('    args: [\n "mpirun \\\n -x NCCL_ALGO=Tree \\\n ./a"]', [(5, "warning", "algo-without-collective")]),
        ("    - |\n      export NCCL_ALGO=Tree\n      ./a", [(4, "warning", "algo-without-collective")]),
        ("    # - NCCL_ALGO=Tree", []),
    ],
)
def test_manifests(line, expected):
    assert codes(f"apiVersion: v1\nenv:\n{line}\n", "pod.yaml") == expected


def test_containers_of_one_manifest_are_apart():
    text = "env:\n- NCCL_IB_DISABLE=1\n---\nenv:\n- NCCL_IB_HCA==mlx5_0\n"
    assert codes(text, "pods.yaml") == []


def test_an_environment():
    found = lint(environment_script({"NCCL_ALGO": "Tree", "HOME": "/root"}, "environment"), catalog())
    assert [(one.subject, one.code) for one in found] == [("environment", "algo-without-collective")]


@pytest.mark.parametrize(
    ("text", "source", "dialect"),
    [
        ("NCCL_DEBUG=INFO\n", "-", Dialect.ENTRIES),
        ("#!/bin/sh\nNCCL_DEBUG=INFO\n", "-", Dialect.SHELL),
        ("NCCL_DEBUG=INFO ./a\n", "run.sh", Dialect.SHELL),
        ("export NCCL_DEBUG=INFO\n", "-", Dialect.SHELL),
        ("NCCL_DEBUG=INFO\n", "/etc/nccl.conf", Dialect.NCCL_CONF),
        ("apiVersion: v1\nkind: Pod\n", "-", Dialect.YAML),
        ("", "job.sh", Dialect.SHELL),
    ],
)
def test_dialects(text, source, dialect):
    assert read_script(text, source).dialect is dialect


@given(st.text(alphabet="NCL_DEBUG=1 \n\t'\"\\$`(){}[]<>|&;#-xEOFif", max_size=120))
def test_no_text_stops_it(text):
    lint(read_script(text, "job.sh"), catalog())


def test_blocks_of_any_depth_are_followed():
    """What is deeper than can be told apart counts as one block, and all of them end where they end."""
    deep = "if a; then\n" * 2000 + "NCCL_DEBUG=INFO\n" + "fi\n" * 2000 + "export NCCL_DEBUG=nonsense\n./train\n"
    assert codes(deep) == [(4002, "error", "value-invalid")]


def test_what_a_branch_unsets_stays_set_outside_it():
    text = "export NCCL_IB_DISABLE=yes\nif a; then\nexport NCCL_IB_DISABLE=no\nunset NCCL_IB_DISABLE\nfi\n./train\n"
    assert codes(text) == [(1, "error", "value-invalid")]


def test_a_command_behind_any_number_of_wrappers_is_read():
    assert codes("exec nohup nice -n 5 timeout -k 5 10s env NCCL_DEBUG=nonsense ./train\n") == [
        (1, "error", "value-invalid")
    ]
    assert codes("exec " * 5000 + "./train\n") == []


def test_names_beyond_the_hundredth_unknown_one_are_told_without_a_proposal():
    text = "".join(f"export SGL_NONE_{number}X=1\n" for number in range(100))
    found = lint(read_script(f"{text}export NCCL_DEBUGS=INFO\n./train\n", "job.sh"), catalog(), "")
    assert (len(found), found[-1].severity.value) == (101, "warning")
    assert found[-1].hint == "take it out"


def test_an_option_of_a_launch_in_a_manifest_is_that_launchs():
    text = "kind: Job\nrun: |\n  export NCCL_DEBUG=WARN\n  mpirun -x NCCL_DEBUG=INFO ./train\n"
    (setting,) = (one for one in read_script(text, "job.yaml").settings if one.how.value == "launcher")
    assert [launch.order for launch in read_script(text, "job.yaml").launches] == [setting.launch]
