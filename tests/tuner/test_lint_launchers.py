"""What launchers pass on: command lines as clusters run them, clean ones with no finding at all, and faulty ones."""

import shlex

import pytest

from ncclprobe.tuner.catalog import catalog
from ncclprobe.tuner.launch_options import parted
from ncclprobe.tuner.launch_programs import may_use_nccl, names_workload
from ncclprobe.tuner.lint import lint
from ncclprobe.tuner.script import LaunchKind
from ncclprobe.tuner.script_text import read_script

EXPORT = "#!/bin/bash\nexport NCCL_DEBUG=WARN NCCL_CROSS_NIC=1\n"
DROPPED = "launcher-drops"


def found(text, source="job.sh"):
    findings = lint(read_script(text, source), catalog())
    return [(int(one.subject.rpartition(":")[2]), one.severity.value, one.code) for one in findings]


def messages(text):
    return [one.message for one in lint(read_script(text, "job.sh"), catalog())]


@pytest.mark.parametrize(
    "commands",
    [
        "mpirun --hostfile hosts -N 1 hostname",
        "mpirun --hostfile hosts -N 1 rm -f /dev/shm/nccl-*",
        "mpirun --hostfile hosts -N 1 --tag-output bash -c 'pkill python; nvidia-smi -L'",
        "mpirun --hostfile hosts -N 1 docker pull nvcr.io/nvidia/pytorch:24.05-py3",
        "for h in a b; do\nssh $h pkill -9 python3\nssh $h 'rm -rf /tmp/x; ls /usr/bin/python3'\ndone",
        "ssh -p 22 $USER@$h 'which python3 && ps aux | grep torchrun'",
        "ssh $h 'python3 --version; pip install vllm; docker rm -f sglang'",
        "ssh $h docker exec w torchrun train.py",
        "srun --export=NONE --ntasks-per-node=1 nvidia-smi -L",
        "srun --export=NONE -K1 -l env",
        "docker run -d --name dcgm -p 9400:9400 --gpus all nvcr.io/nvidia/k8s/dcgm-exporter:3.3.0",
        "docker run --rm --gpus all nvidia/cuda:12.4.0-base nvidia-smi",
        "docker run -it --rm --gpus all pytorch bash",
        "docker run -d --name w -e NCCL_DEBUG -e NCCL_CROSS_NIC img sleep infinity\ndocker exec w torchrun train.py",
        "docker run -d $FLAGS --name w img sleep infinity\ndocker exec w torchrun train.py",
        "docker compose up -d\ndocker exec w torchrun train.py\ndocker compose exec w torchrun train.py",
        "apptainer exec --cleanenv img.sif nvidia-smi",
        "apptainer shell --cleanenv img.sif",
    ],
)
def test_what_uses_no_nccl_loses_nothing(commands):
    assert found(f"{EXPORT}{commands}\ntorchrun train.py\n") == []


@pytest.mark.parametrize(
    "command",
    [
        "mpiexec.hydra -machinefile hosts -n 16 -ppn 8 -bind-to core ./all_reduce_perf",
        "mpiexec -genvall -machinefile hosts -bind-to core -n 16 ./all_reduce_perf",
        "mpirun -hostfile hosts -ppn 8 -n 16 -map-by numa -bind-to core ./all_reduce_perf",
        "mpirun -genvall -genvlist PATH -n 16 ./all_reduce_perf",
        "mpirun -np 16 --hostfile $PBS_NODEFILE --map-by ppr:8:node ./all_reduce_perf",
        "#BSUB -n 16\nmpirun -np 16 -hostfile $LSB_DJOB_HOSTFILE --bind-to none ./all_reduce_perf",
        "#$ -pe mpi 16\nmpirun -np $NSLOTS --hostfile $TMPDIR/machines --bind-to none ./all_reduce_perf",
        "mpirun --allow-run-as-root -np 8 -H $(hostname):8 --bind-to none ./all_reduce_perf",
        "mpirun --allow-run-as-root -np 8 -H $HOST:8 -x NCCL_DEBUG=INFO ./all_reduce_perf\n./b",
        "mpirun --allow-run-as-root -np 8 -x NCCL_DEBUG=INFO ./all_reduce_perf\n./b",
        "mpirun --hostfile hosts --mca mca_base_env_list 'NCCL_DEBUG;NCCL_CROSS_NIC' ./all_reduce_perf",
        'mpirun --hostfile hosts --mca mca_base_env_list "$NAMES" ./all_reduce_perf',
        "export OMPI_MCA_mca_base_env_list='NCCL_DEBUG;NCCL_CROSS_NIC'\nmpirun --hostfile hosts --mca a b ./a",
        "export OMPI_MCA_mca_base_env_list=$NAMES\nmpirun --hostfile hosts --mca a b ./a",
        "mpirun --hostfile hosts -x 'NCCL_*' --bind-to none ./all_reduce_perf",
        "NAMES=$(echo ${!NCCL*} | sed 's/ / -x /g')\nmpirun --hostfile hosts -x $NAMES --bind-to none ./a",
        "NAMES='NCCL_DEBUG -x NCCL_CROSS_NIC'\nmpirun --hostfile hosts -x $NAMES --bind-to none ./all_reduce_perf",
        "mpiexec.hydra -n 16 -ppn 8 -genvlist PATH,$NAMES ./all_reduce_perf",
        'mpirun --hostfile hosts -x "NCCL*" ./all_reduce_perf',
        "mpirun --hostfile hosts --bind-to none $(env | grep ^NCCL_ | sed 's/^/-x /') ./all_reduce_perf",
        "mpirun --hostfile hosts --bind-to none bash -c 'source /shared/nccl_env.sh; exec ./all_reduce_perf'",
        "mpirun --hostfile hosts --bind-to none env NCCL_DEBUG=WARN NCCL_CROSS_NIC=1 ./all_reduce_perf",
        "mpirun -np 1 -x NCCL_DEBUG -x NCCL_CROSS_NIC -H a ./a : -np 1 -H b -x NCCL_DEBUG ./b",
    ],
)
def test_mpirun_passes_it_on(command):
    assert found(f"{EXPORT}{command}\n") == []


@pytest.mark.parametrize(
    "command",
    [
        'docker run --rm img bash -c "export NCCL_DEBUG=$NCCL_DEBUG NCCL_CROSS_NIC=1; torchrun train.py"',
        "docker run --rm --ulimit memlock=-1 --memory-swap -1 -itd -eNCCL_DEBUG=WARN -e NCCL_CROSS_NIC img python a.py",
        "docker run --gpus all --env-file nccl.env img torchrun train.py",
        "docker run --gpus all -e $NAMES img torchrun train.py",
        "export APPTAINERENV_NCCL_DEBUG=WARN APPTAINERENV_NCCL_CROSS_NIC=1\napptainer exec --cleanenv x.sif ./a",
        "export SINGULARITYENV_NCCL_DEBUG=$D SINGULARITYENV_NCCL_CROSS_NIC=1\nsingularity exec -e $IMG python a.py",
        "apptainer exec --nv x.sif python a.py --cleanenv",
        "srun python train.py --export=NONE",
        "srun -K1 --cpu-bind=none -N 2 --label python train.py --export=NONE",
        "ssh -o SendEnv=NCCL_* node2 torchrun train.py",
        'ssh node2 "$SETTINGS torchrun train.py"',
        "ssh node2 \"NCCL_DEBUG=$NCCL_DEBUG NCCL_CROSS_NIC=1 torchrun --nnodes 2 train.py\"",
        "ssh node2 env NCCL_DEBUG=WARN NCCL_CROSS_NIC=1 torchrun train.py",
    ],
)  # fmt: skip
def test_others_pass_it_on(command):
    assert found(f"{EXPORT}{command}\n") == []


@pytest.mark.parametrize(
    ("command", "severity"),
    [
        ("mpirun -np 16 -H a:8,b:8 --bind-to none $BUILD/all_reduce_perf", "warning"),
        ("mpirun -np 16 -H $A:8,$B:8 --bind-to none ./all_reduce_perf", "warning"),
        ("HOSTS=a,b; mpirun -np 16 -H $HOSTS --bind-to none ./all_reduce_perf", "warning"),
        ("mpirun -np 16 --hostfile hosts --oversubscribe ./a -x NCCL_DEBUG -x NCCL_CROSS_NIC", "warning"),
        ("mpirun -np 16 --hostfile hosts --map-by slot env NCCL_DEBUG=WARN ./a", "warning"),
        ("mpirun -np 16 --hostfile=hosts --bind-to none bash -c 'hostname; ./a'", "warning"),
        ("orterun --host n1,n2 -np 2 ./a", "warning"),
        ("mpiexec.hydra -n 16 -ppn 8 -genvlist NCCL_DEBUG,LD_LIBRARY_PATH ./a", "warning"),
        ("mpiexec -genvnone -bind-to core ./a", "error"),
        ("docker run --gpus all pytorch torchrun train.py -e NCCL_DEBUG", "warning"),
        ("docker run --gpus all -p 8000:8000 vllm/vllm-openai --model x", "warning"),
        ("docker exec w torchrun train.py", "warning"),
        ("apptainer exec --cleanenv --nv $IMG python train.py", "warning"),
        ("srun --export=NONE --mpi=pmix bash -c 'hostname; python train.py'", "error"),
        ("ssh -p 22 user@$h 'cd /w && nohup numactl -N 0 python train.py > log 2>&1 &'", "warning"),
        ("ssh $OPTIONS $h \"bash -c 'python train.py'\"", "warning"),
    ],
)
def test_what_is_lost(command, severity):
    assert found(f"{EXPORT}{command}\n") == [(3, severity, DROPPED)]


@pytest.mark.parametrize(
    ("command", "lost"),
    [
        ("docker run --gpus all img torchrun train.py", True),
        ("mpirun -np 16 --hostfile hosts --bind-to none ./all_reduce_perf", True),
        ("ssh node2 torchrun train.py", True),
        ("srun --export=NONE ./a", True),
        ("srun ./a", False),
        ("mpirun -np 8 --bind-to none ./a", False),
        ("docker run -e NCCL_DEBUG img torchrun train.py", False),
    ],
)
def test_what_is_set_for_the_launcher_alone_is_lost_as_well(command, lost):
    assert [code for _, _, code in found(f"#!/bin/bash\nNCCL_DEBUG=INFO {command}\n")] == [DROPPED] * lost


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NCCL_DEBUG=INFO\nmpirun -np 2 -x NCCL_DEBUG ./a\n", [(2, "warning", "variable-not-exported")]),
        ("NCCL_DEBUG=INFO\ndocker run -e NCCL_DEBUG img ./a\n", [(2, "warning", "variable-not-exported")]),
        ("NCCL_DEBUG=INFO\ndocker run -e NCCL_DEBUG=INFO img ./a\n", []),
        ("NCCL_DEBUG=INFO\nexport NCCL_DEBUG\ndocker run -e NCCL_DEBUG img ./a\n", []),
    ],
)
def test_a_launcher_has_nothing_to_pass_on_of_what_is_not_exported(text, expected):
    assert found(f"#!/bin/bash\n{text}") == expected


def test_what_is_set_here_does_not_contradict_what_another_host_sets():
    text = "export NCCL_IB_DISABLE=1\npython head.py &\n{} 'export NCCL_IB_HCA==mlx5_0; torchrun a.py'\n"
    assert found(text.format("ssh w1")) == []
    assert found(text.format("docker run -e NCCL_IB_DISABLE=0 img bash -c")) == []
    assert found(text.format("bash -c")) == [(3, "warning", "settings-contradict")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("srun --export=ALL,NCCL_IB_HCA=mlx5_0,mlx5_3,NCCL_DEBUG=INFO ./a", 2),
        ("srun --export=ALL,NCCL_IB_HCA='mlx5_0,mlx5_3' ./a", 2),
        ("srun --export=ALL,NCCL_IB_HCA==mlx5_0:1,mlx5_3:1 ./a", 2),
        ("srun --export=ALL,NCCL_DEBUG_SUBSYS=INIT,NET ./a", 2),
        ("srun --export=ALL,NCCL_PROTO=LL,Simple ./a", 2),
        ("sbatch --export=ALL,NCCL_SOCKET_IFNAME=ib0,ib2 job.sh", 2),
        ("qsub -v NCCL_SOCKET_IFNAME=ib0,ib2 job.pbs", 2),
        ("#PBS -l select=2\n#PBS -v NCCL_IB_HCA=mlx5_0,mlx5_3,NCCL_DEBUG=INFO\n./a", 3),
        ("#SBATCH --nodes=2 --export=ALL,NCCL_IB_HCA=mlx5_0,mlx5_3\n./a", 2),
    ],
)
def test_a_list_in_a_list_of_variables_is_cut(text, line):
    assert found(f"#!/bin/bash\n{text}\n") == [(line, "error", "value-invalid")]


@pytest.mark.parametrize(
    "text",
    [
        "srun --export=ALL,NCCL_IB_HCA=mlx5_0,HOME,PATH,no_proxy ./a",
        "export mine=2\nsrun --export=NCCL_IB_HCA=mlx5_0,mine ./a",
        "srun --export=ALL,NCCL_IB_HCA=mlx5_0,$MORE ./a",
        "srun --export=NCCL_DEBUG=INFO,mine ./a",
        "#PBS -v NCCL_ALGO=Ring,PATH\n./a",
        "#PBS -v NCCL_IB_HCA=mlx5_0\\,mlx5_3,PATH,\n./a",
        "#SBATCH --export='ALL,NCCL_DEBUG_SUBSYS=\"INIT,NET\"'\nsrun ./a",
    ],
)
def test_names_behind_a_value_are_no_part_of_it(text):
    assert found(f"#!/bin/bash\n{text}\n") == []


def test_a_cut_list_is_told_with_what_is_left_of_it():
    assert messages("srun --export=ALL,NCCL_IB_HCA==mlx5_0,mlx5_3 ./a\n") == [
        "NCCL_IB_HCA==mlx5_0 is all that arrives: --export ends a value at a comma, so mlx5_3 is lost"
    ]


@pytest.mark.parametrize(
    "command",
    [
        "srun -n 2 env NCCL_IB_TIMEOUT=98 ./a", "mpirun -np 8 env -u X NCCL_IB_TIMEOUT=98 ./a",
        "ssh node2 NCCL_IB_TIMEOUT=98 torchrun a.py", "docker run -eNCCL_IB_TIMEOUT=98 img ./a",
        "mpirun -np 8 --mca mca_base_env_list 'NCCL_DEBUG;NCCL_IB_TIMEOUT=98' ./a",
    ],
)  # fmt: skip
def test_values_behind_a_launcher_are_read(command):
    assert found(f"#!/bin/bash\n{command}\n") == [(2, "warning", "value-out-of-range")]


def test_options_behind_the_program_are_the_programs():
    assert read_script("mpirun -np 16 ./a -x NCCL_ALGO=Ring\nsrun ./a --export=NONE\n", "job.sh").settings == ()


@pytest.mark.parametrize(
    ("kind", "line", "own", "hidden"),
    [
        (LaunchKind.MPI, "-np 8 --unknown x -d 16 --nolocal ./a -x B", "-np 8 --unknown x -d 16 --nolocal", False),
        (LaunchKind.MPI, "--unknown ./a", "--unknown", False),
        (LaunchKind.MPI, "-genv A 1 -genv B=1 ./a", "-genv A 1 -genv B=1", False),
        (LaunchKind.MPI, "-n 1 ./a : -n 2 -x A ./b", "-n 1 -n 2 -x A", False),
        (LaunchKind.MPI, "", "", False),
        (LaunchKind.MPI, "-np", "-np", False),
        (LaunchKind.SRUN, "-n4 -N 2 -lu --mpi pmix --exact a.out -n 1", "-n4 -N 2 -lu --mpi pmix --exact", False),
        (LaunchKind.SSH, "-p 22 -oA=B -tt h -v cmd -x", "-p 22 -oA=B -tt h -v", False),
        (LaunchKind.CONTAINER, "run -it -p8:8 -v a:b img cmd -e A", "run -it -p8:8 -v a:b img", False),
        (LaunchKind.CONTAINER, "run _ img cmd", "run _ img", True),
        (LaunchKind.SANDBOX, "exec --nv -B /a --env A=1 _ cmd -e", "exec --nv -B /a --env A=1 _", False),
        (LaunchKind.QSUB, "job -v A", "job -v A", False),
    ],
)  # fmt: skip
def test_the_launchers_own_words(kind, line, own, hidden):
    words = ["" if word == "_" else word for word in line.split()]
    parts = parted(kind, words)
    assert ([line.split()[at] for at in parts.own], parts.hidden) == (own.split(), hidden)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("./train", True), ("bash train.sh", True), ("python a.py", True), ("python -m torch.distributed.run a", True),
        ("numactl -N 0 ./a", True), ("conda run -n x python a.py", True), ("docker run img", True), ("", False),
        ("env A=1 nohup hostname", False), ("timeout 10s /usr/bin/nvidia-smi", False), ("python -m pip list", False),
        ("python -c print()", False), ("python -c nccl.version()", True), ("docker ps", False), ("sh -c ", True),
        ("uv pip install x", False), ("sudo -E rm -rf /x", False), ("bash", False), ("bash -il", False),
    ],
)  # fmt: skip
def test_programs_that_may_use_nccl(command, expected):
    assert may_use_nccl(command.split(" ") if command else []) is expected


def test_shells_within_shells_are_read():
    assert not may_use_nccl(["bash", "-lc", "hostname; sh -c 'ls | grep torchrun'"])
    assert may_use_nccl(["bash", "-c", "module load x && ./a"])
    assert names_workload("cd x; bash -c 'A=1 python a.py'")
    assert not names_workload("pkill python; ./unknown")
    deep = "a"
    for _ in range(6):
        deep = f"bash -c {shlex.quote(deep)}"
    assert may_use_nccl(["bash", "-c", deep])
