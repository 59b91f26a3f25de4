"""Shell scripts that are right, with no finding, and ones that are not, with the very ones that they must get."""

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script_text import read_script


def findings(text, source="job.sh"):
    return lint(read_script(text, source), catalog())


def codes(text):
    return [(int(one.subject.rpartition(":")[2]), one.severity.value, one.code) for one in findings(text)]


CONTRADICTS = "settings-contradict"
OFF, HCA = "export NCCL_IB_DISABLE=1\n", "export NCCL_IB_HCA==mlx5_0,mlx5_1\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{OFF}if [ -d /sys/class/infiniband ]; then\nunset NCCL_IB_DISABLE\n{HCA}torchrun train.py\nfi\n",
        f"{OFF}if [ -d /sys/class/infiniband ]; then\nunset -v NCCL_IB_DISABLE\nfi\n{HCA}torchrun train.py\n",
        f"{OFF}if [ -d /sys/class/infiniband ]; then\nexport NCCL_IB_DISABLE=0\nfi\n{HCA}torchrun train.py\n",
        f"{OFF}./warm_up\nenv -u NCCL_IB_DISABLE NCCL_IB_HCA==mlx5_0 ./train\n",
        f"{OFF}./warm_up\nenv -uNCCL_IB_DISABLE --unset=NCCL_NET NCCL_IB_HCA==mlx5_0 ./train\n",
        f"{OFF}./warm_up\nenv -i PATH=/bin NCCL_IB_HCA==mlx5_0 ./train\n",
        f"{OFF}./warm_up\nenv -u NCCL_IB_DISABLE bash -c 'export NCCL_IB_HCA==mlx5_0; ./train'\n",
        f"{OFF}./warm_up\nNCCL_IB_DISABLE=0 bash -c 'export NCCL_IB_HCA==mlx5_0; ./train'\n",
        f"{OFF}./warm_up\nexport -n NCCL_IB_DISABLE\n{HCA}./train\n",
        f"{OFF}./warm_up\ndeclare +x NCCL_IB_DISABLE\n{HCA}./train\n",
        f"{OFF}./warm_up\nunset ${{!NCCL_@}}\n{HCA}./train\n",
        f"{OFF}./warm_up\nfor one in ${{!NCCL_@}}; do unset $one; done\n{HCA}./train\n",
        f"run() {{ srun python x.py; }}\n{HCA}if ! run; then\n{OFF}unset NCCL_IB_HCA\nrun\nfi\n",
        f"{OFF}./train\ncleanup() {{ unset NCCL_IB_DISABLE; }}\ncleanup\n{HCA}./train\n",
        "export NCCL_DEBUG=INFO\nif x; then\nunset NCCL_DEBUG\nsrun --export=NONE hostname\nfi\n",
    ],
)
def test_what_is_unset_holds_no_more(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{OFF}if x; then\nunset NCCL_DEBUG\n{HCA}./train\nfi\n", 4),
        (f"{OFF}if x; then\nunset NCCL_IB_DISABLE\n{OFF}{HCA}./train\nfi\n", 5),
        (f"{OFF}if x; then\nexport NCCL_IB_DISABLE=1\nfi\n{HCA}./train\n", 5),
        (f"{OFF}env -u NCCL_IB_DISABLE ./warm_up\n{HCA}./train\n", 3),
        (f"{OFF}NCCL_IB_DISABLE=0 ./warm_up\n{HCA}./train\n", 3),
        (f"{OFF}unset ${{!SLURM_@}}\n{HCA}./train\n", 3),
        (f"{OFF}unset -f nccl_settings\n{HCA}./train\n", 3),
        ("NCCL_IB_DISABLE=1 bash -c 'export NCCL_IB_HCA==mlx5_0; ./train'\n", 1),
    ],
)
def test_what_is_not_unset_still_holds(text, line):
    assert codes(text) == [(line, "warning", CONTRADICTS)]


@pytest.mark.parametrize(
    "text",
    [
        '[ "$SLURM_NNODES" -gt 1 ] && export NCCL_ALGO=Ring || export NCCL_ALGO=Ring,Tree\nsrun ./train\n',
        f"[ -d /sys/class/infiniband ] && {{ {HCA}export NCCL_IB_TC=106; }} || {{ export A=1; {OFF}}}\n./train\n",
        f"[ -d /sys/class/infiniband ] && ( {HCA}./train ) || ( {OFF}./train )\n",
        f"[[ -n $A && ( -d /x || $B < c ) ]] && {{ export A=1; {OFF}}}\n{HCA}./train\n",
        "if [[ -n $A && -d /x ]]; then\nNCCL_DEBUG=INFO\nfi\n",
        f"DEVICES=$(ls /sys/class/infiniband) || {OFF}{HCA}./train\n",
        f"command -v ibstat > /dev/null || {OFF}{HCA}./train\n",
        f"echo $HOSTS | grep -q , && {OFF}{HCA}./train\n",
    ],
)
def test_alternatives_are_apart(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "before",
    [
        "cd /work", ". ./env.sh", "source /opt/env.sh", "module load nccl", "mkdir -p logs", "pushd /work", "echo a",
        "export A=1", "A=1 B=$C", "set -e", "cd /work && module purge",
    ],
)  # fmt: skip
def test_what_is_no_condition_makes_no_branch(before):
    assert codes(f"{before} && {OFF}{HCA}./train\n") == [(2, "warning", CONTRADICTS)]
    exports = f"{before} && export NCCL_DEBUG=WARN\n"
    assert codes(f"{exports}srun --export=NONE ./train\n") == [(2, "error", "launcher-drops")]


ASSIGNED = "NCCL_DEBUG=WARN\nNCCL_CROSS_NIC=1\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{ASSIGNED}export ${{!NCCL_@}}\n./train\n",
        f'{ASSIGNED}for one in $(compgen -v NCCL_); do export "$one"; done\n./train\n',
        f"{ASSIGNED}for one in NCCL_DEBUG NCCL_CROSS_NIC; do declare -gx $one; done\n./train\n",
        f"{ASSIGNED}export NCCL_{{DEBUG,CROSS_NIC}}\n./train\n",
        f'{ASSIGNED}eval "export $NAMES"\n./train\n',
        f"{ASSIGNED}source ./export_nccl.sh\n./train\n",
        f"{ASSIGNED}. $HERE/common.sh && ./train\n",
        f"#!/bin/bash -a\n{ASSIGNED}./train\n",
        f"#!/usr/bin/env -S bash -ea\n{ASSIGNED}./train\n",
        f"set -ea\n{ASSIGNED}./train\n",
        f"set -euao pipefail\n{ASSIGNED}set +a\n./train\n",
        f"set -o errexit -o allexport\n{ASSIGNED}set +o allexport\n./train\n",
        f"set -a -- +a\n{ASSIGNED}./train\n",
    ],
)
def test_exports_that_cannot_be_followed_are_taken_for_ones(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "before",
    [
        "set -o allexport\n. ./base.env\nset +o allexport\n", "source ./base.sh\n", "set -euo pipefail\n",
        "export ${!SLURM_@}\n", "#!/bin/bash -ex\n", "set -- -a\n", "export -f one\n", "set -e a\n",
    ],
)  # fmt: skip
def test_what_is_assigned_and_not_exported_is_found(before):
    line = before.count("\n") + 1
    assert codes(f"{before}NCCL_DEBUG=WARN\n. /etc/profile\n./train\n") == [(line, "warning", "variable-not-exported")]


@pytest.mark.parametrize(
    "text",
    [
        "srun --export='ALL,NCCL_DEBUG=INFO,NCCL_DEBUG_SUBSYS=\"INIT,NET\"' ./train\n",
        "qsub -v \"NCCL_DEBUG_SUBSYS='INIT,NET',NCCL_DEBUG=INFO\" job.pbs\n",
        "#SBATCH --export='ALL,NCCL_DEBUG_SUBSYS=\"INIT,NET\"'\nsrun ./train\n",
        "#PBS -v NCCL_DEBUG_SUBSYS=\"INIT,NET\",NCCL_DEBUG='INFO'\n./train\n",
        "mpiexec -genvlist 'NCCL_DEBUG,PATH' ./train\n",
    ],
)
def test_a_comma_in_quotes_ends_no_setting(text):
    assert codes(text) == []


def test_settings_of_a_quoted_list_are_checked():
    directive = "#SBATCH --export='ALL,NCCL_DEBUG_SUBSYS=\"INIT,WEB\",NCCL_ALGO=foo'\n"
    unclosed = 'srun --export="ALL,A=\'b,NCCL_DEBUG=foo" ./train\n'
    found = [(one.subject, one.message.partition(":")[0]) for one in findings(directive + unclosed)]
    assert found == [
        ("job.sh:1", "NCCL_ALGO=foo"),
        ("job.sh:1", "NCCL_DEBUG_SUBSYS=INIT,WEB"),
        ("job.sh:2", "NCCL_DEBUG=foo is none of the words that NCCL knows"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'ARGS=(\n-np 16\n-x NCCL_P2P_NVL_DISABLE=1 # why\n-x NCCL_ALGO=Tree\n)\nmpirun "${ARGS[@]}" python x.py\n',
            [(3, "error", "unknown-variable"), (4, "warning", "algo-without-collective")],
        ),
        ('ARGS+=(-x "NCCL_PROTO=LL64")\n./a\n', [(1, "error", "value-invalid")]),
        ("local -a ARGS=(--env=NCCL_PROTO='LL64')\n./a\n", [(1, "error", "value-invalid")]),
        ('OPTS="-x NCCL_DEBUG=INFO -x NCCL_PROTO=^LL"\nmpirun $OPTS ./a\n', [(1, "warning", "ll128-forced")]),
        ('OPTS="$OPTS -x NCCL_BUFFSIZE=8M"\nmpirun $OPTS ./a\n', [(1, "error", "value-invalid")]),
        (
            'FIRST="cd /a; export NCCL_DEBUG=INFO NCCL_BUFFSIZE=8M && export A=$B"\nssh h "$FIRST; ./a"\n',
            [(1, "error", "value-invalid")],
        ),
        ("bash cluster.sh img --head \\\n-e NCCL_DEBUG=INFO -e NCCL_IB_DISABLE=yes\n", [(2, "error", "value-invalid")]),
        ('ENVIRONMENT="NCCL_DEBUG=INFO NCCL_BUFFSIZE=8M"\nenv $ENVIRONMENT ./a\n', [(1, "error", "value-invalid")]),
        (
            'declare -A VALUES=([NCCL_ALGO]=foo\n[NCCL_PROTO]="^LL")\nfor one in "${!VALUES[@]}"; do run $one; done\n',
            [(1, "error", "value-invalid"), (2, "warning", "ll128-forced")],
        ),
        (
            "for one in NCCL_PROTO=Simple NCCL_IB_TIMEOUT=99; do export $one; done\n./a\n",
            [(1, "warning", "value-out-of-range")],
        ),
    ],
)
def test_settings_in_arrays_loops_and_texts_of_options_are_checked(text, expected):
    assert codes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "export NCCL_IB_DISABLE=1\nARGS=(-x NCCL_IB_HCA==mlx5_0 -x NCCL_DEBUG=WARN)\n./a\nNAMES=(NCCL_DEBUG=INFO)\n",
        "export NCCL_DEBUG=INFO\nARGS=(-x NCCL_DEBUG=WARN)\nexport OTHER=1\n./a\n",
        "PATTERNS=('NCCL_DEBUG=.*' 'NCCL_ALGO=[a-z]' NCCL_BUFFSIZE=%d 'NCCL_PROTO=<proto>' NCCL_ALGO=...)\n./a\n",
        "declare -A HELP=([NCCL_ALGO]='which algorithm' [NCCL_DEBUG]=$(level))\n./a\n",
        'MAKE=(MPI=1 NCCL_HOME=/opt/nccl NCCL_MAJOR=2)\nmake "${MAKE[@]}"\n',
        'SAYING="NCCL_DEBUG=verbose is what some write"\nTITLE="NCCL_ALGO=Tree"\necho "$SAYING"\n./a\n',
        "for one in Ring Tree; do mpirun -x NCCL_ALGO=$one ./all_reduce_perf; done\n",
        "case $1 in NCCL_ALGO=foo) ;; esac\n./a\n",
        "grep -e NCCL_ALGO=foo log && ./a -e NCCL_DEBUG=$LEVEL -x NCCL_MINE=1\n",
        "ARGS=(\nif\nfor\n)\nexport NCCL_DEBUG=WARN\n./a\n",
        'run() {\nlocal args=(-x NCCL_DEBUG=WARN)\nmpirun "${args[@]}" ./a\n}\nrun\n',
    ],
)
def test_lists_set_nothing_by_themselves(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("export NCCL_ALGO=allreduce:tree;allgather:ring", "write NCCL_ALGO='allreduce:tree;allgather:ring'"),
        ("export NCCL_ALGO=ring;allreduce:tree;reduce:^tree", "write NCCL_ALGO='ring;allreduce:tree;reduce:^tree'"),
        ("mpirun -x NCCL_PROTO=^LL128;allreduce:simple ./a", "write NCCL_PROTO='^LL128;allreduce:simple'"),
        ("export NCCL_ALGO=$CHOICE;allreduce:tree", "put the value into quotes"),
    ],
)
def test_a_semicolon_that_cuts_a_value_is_found(line, hint):
    (found,) = findings(f"{line}\n")
    assert (found.subject, found.severity.value, found.code, found.hint) == ("job.sh:1", "error", "value-invalid", hint)
    assert found.message.startswith("the ; ends the command, so NCCL_")


MPIRUN = "mpirun -np 2 -x NCCL_CROSS_NIC=1"


@pytest.mark.parametrize(
    ("text", "line", "names"),
    [
        (f"{MPIRUN} \\ \n -x NCCL_ALGO=Ring ./a\n", 2, "NCCL_ALGO is"),
        (f"{MPIRUN} \\\n  # -x A=1 \\\n  -x NCCL_DEBUG=INFO -x NCCL_ALGO=Ring ./a\n", 3, "NCCL_DEBUG, NCCL_ALGO are"),
        (f"{MPIRUN}\n -x NCCL_ALGO=Ring ./a\n", 2, "NCCL_ALGO is"),
        ("docker run image \\ \n--env NCCL_ALGO=Ring\n", 2, "NCCL_ALGO is"),
    ],
)  # fmt: skip
def test_options_that_a_lines_end_cuts_off_are_found(text, line, names):
    (found,) = findings(text)
    assert (found.subject, found.severity.value, found.code) == (f"job.sh:{line}", "error", "assignment-syntax")
    assert found.message == f"the line before has ended its command, so {names} not set by this one"


def test_each_of_the_lines_that_are_cut_off_is_found():
    text = f"{MPIRUN} \\ \n -x NCCL_ALGO=Ring \\ \n -x NCCL_DEBUG=INFO ./a\n"
    assert codes(text) == [(2, "error", "assignment-syntax"), (3, "error", "assignment-syntax")]


@pytest.mark.parametrize(
    "text",
    [
        "export NCCL_ALGO='allreduce:tree;allgather:ring'\n./a\n",
        "export NCCL_ALGO=Ring; ./a; module:load\n",
        "export NCCL_ALGO=Ring\nhost:command\n./a\n",
        "-x NCCL_DEBUG=INFO\n",
        f"{MPIRUN} \\\n -x NCCL_ALGO=Ring ./a\n-x OTHER=1\n",
    ],
)
def test_commands_that_end_where_they_should_get_nothing(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{HCA}./all_reduce_perf\nNCCL_IB_DISABLE=1 ./all_reduce_perf\n",
        f"{HCA}NCCL_NET=Socket ./all_reduce_perf\n./all_reduce_perf\n",
        f"{HCA}./all_reduce_perf || {{ {OFF}./all_reduce_perf; }}\n",
        "export NCCL_P2P_LEVEL=NVL\nmpirun -np 2 ./a\nmpirun -np 2 -x NCCL_P2P_LEVEL -x NCCL_P2P_DISABLE=1 ./a\n",
    ],
)
def test_what_one_launch_of_several_switches_off_is_of_use_to_the_others(text):
    assert codes(text) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{HCA}./prepare\n{OFF}./train\n",
        f"{HCA}NCCL_IB_DISABLE=1 ./train\n",
        f"{HCA}if [ $X ]; then\n{OFF}./train\nfi\n",
        "export NCCL_P2P_LEVEL=NVL\nmpirun -np 2 -x NCCL_P2P_LEVEL -x NCCL_P2P_DISABLE=1 ./a\n",
    ],
)
def test_what_is_switched_off_for_all_launches_is_of_no_use(text):
    assert codes(text) == [(1, "warning", CONTRADICTS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("( export NCCL_CROSS_NIC=1\nexport NCCL_DEBUG=INFO; cd x )\n./a\n", [1, 2]),
        ("( ( export NCCL_DEBUG=INFO ); ./a )\n", [1]),
        ("( export NCCL_DEBUG=INFO; ./a )\n", []),
        ("( export NCCL_DEBUG=INFO; ( cd x && ./a ) )\n", []),
        ("( export NCCL_DEBUG=INFO; bash -c '( ./a )' ) &\n", []),
        ("( export NCCL_DEBUG=INFO; exec $PROGRAM )\n", []),
        ("( export NCCL_DEBUG=INFO; echo $NCCL_DEBUG )\n", []),
        ("run() ( export NCCL_DEBUG=INFO; ./a )\nrun\n", []),
        ("case $1 in (a) export NCCL_DEBUG=INFO;; esac\n./a\n", []),
        ("{ export NCCL_DEBUG=INFO; }\n./a\n", []),
        ("bash -c '( export NCCL_CROSS_NIC=1'\nexport NCCL_DEBUG=INFO )\n./a\n", []),
    ],
)
def test_exports_in_a_subshell_that_starts_nothing_are_lost(text, expected):
    assert codes(text) == [(line, "warning", "variable-not-exported") for line in expected]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('bash -c "export NCCL_IB_DISABLE=yes; cd $PWD; ./train"\n', 1),
        ('ssh $HOST "\ncd ${DIR:-/}\nexport NCCL_IB_DISABLE=yes && ./train $(hostname) \\$RANK"\n', 3),
        ('OFF=yes\ndocker run $IMAGE bash -c "export NCCL_IB_DISABLE=$OFF && ./train $ARGS"\n', 2),
    ],
)
def test_commands_for_other_shells_are_read_with_variables_in_them(text, line):
    assert codes(text) == [(line, "error", "value-invalid")]


@pytest.mark.parametrize("python", ["python3", "srun /opt/bin/python3 -u"])
def test_code_for_python_is_no_shell_script(python):
    assert codes(f'{python} -c "\nNCCL_ALGO = 1\nprint(NCCL_ALGO)"\n') == []


@pytest.mark.parametrize(
    "command", ['bash -c "$COMMAND"', 'ssh $HOST "$SETTINGS ./train"', 'bash -c "export NCCL_DEBUG=$1; $COMMAND"']
)
def test_commands_that_only_a_shell_can_tell_are_passed_over(command):
    assert codes(f"{command}\n") == []
