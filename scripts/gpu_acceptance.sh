#!/usr/bin/env bash
# Shows on a machine with two GPUs or more what the backend `nccl` promises; on one GPU, what can be shown there.
#
#   scripts/gpu_acceptance.sh FOLDER OUT [STEP...]
#
# FOLDER holds whl/ (wheels that the machine lacks) and nccl-tests/ (its sources). Results go to OUT as they come: log.txt,
# and results.tgz with everything else. Steps, in order of importance, with their seconds on two H200s: smoke (15) tests
# (90) one (110) fidelity (385) sweep (140) live (60) nodes (100) alike (450); faults (200), spread (150), table (a
# workload's sizes), side (of two nodes), pairs, graph and many (GPUs) are there as well. fidelity is to have the machine
# for itself. nccl-tests has a thread a GPU, or with NCCL_TESTS_BY=processes and a site's MPI a process, as ours does.
# What an earlier call of a step left is made anew. SGLang's part is scripts/sglang_acceptance.sh.
set -u
folder=$(cd "$1" && pwd) out=$2
shift 2
steps=${*:-smoke tests one fidelity sweep live nodes alike}
root=$(cd "$(dirname "$0")/.." && pwd)
work=/tmp/ncclprobe-acceptance
mkdir -p "$out" "$work/results" "$work/build" "$work/home/lib"
exec > >(tee -a "$out/log.txt") 2>&1
export PYTHONUNBUFFERED=1 NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1

began=$SECONDS
say() { printf '\n=== %s (%d s)\n' "$*" $((SECONDS - began)); }
keep() { tar czf "$out/results.tgz" -C "$work" results; }
step() { # seconds, name, command...
  local limit=$1 name=$2
  shift 2
  say "$name"
  rm -rf "${work:?}/results/$name"
  timeout -s INT -k 20 "$limit" "$@" > >(tee "$work/results/$name.txt") 2>&1
  printf '=== %s ended with %d\n' "$name" $?
  keep
}

say setup
python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$work/site" "$folder"/whl/*.whl
export PYTHONPATH="$root:$work/site"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
nvidia-smi topo -m | tee "$work/results/topo.txt"
gpus=$(nvidia-smi --list-gpus | wc -l)
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then gpus=$(tr ',' '\n' <<< "$CUDA_VISIBLE_DEVICES" | wc -l); fi
ranks=$((gpus > 1 ? gpus : 2))
nccl=$(python3 -c 'import nvidia.nccl, pathlib; print(pathlib.Path(list(nvidia.nccl.__path__)[0]))')
ln -sfn "$nccl/include" "$work/home/include"
ln -sf "$nccl/lib/libnccl.so.2" "$work/home/lib/libnccl.so"
export LD_LIBRARY_PATH="$nccl/lib:${LD_LIBRARY_PATH:-}"
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d '. ')
cuda=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
build() { # folder, further variables...
  local into=$1
  shift
  cp -r "$folder/nccl-tests" "$work/source-$(basename "$into")"
  make -s -j8 -C "$work/source-$(basename "$into")/src" BUILDDIR="$into" NCCL_HOME="$work/home" CUDA_HOME="$cuda" \
    NVCC_GENCODE="-gencode=arch=compute_$capability,code=sm_$capability" "$@" "$into/all_reduce_perf"
}
build "$work/build" > "$work/results/build.txt" 2>&1 &
builds=$!
beside=(--nccl-tests "$work/build/all_reduce_perf" --nranks "$ranks")
if command -v mpirun mpicc > /dev/null && include=$(mpicc --showme:incdirs 2> /dev/null); then # Open MPI
  libraries=$(mpicc --showme:libdirs)
  mkdir -p "$work/mpi"
  ln -sfn "${include%% *}" "$work/mpi/include"
  ln -sfn "${libraries%% *}" "$work/mpi/lib"
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none
  build "$work/build-mpi" MPI=1 MPI_HOME="$work/mpi" > "$work/results/build-mpi.txt" 2>&1 &
  builds="$builds $!"
fi
choose_build() { # processes where they run
  # shellcheck disable=SC2086
  wait $builds || tail -20 "$work"/results/build*.txt
  if [ "${NCCL_TESTS_BY:-threads}" = processes ] && [ -x "$work/build-mpi/all_reduce_perf" ] &&
    timeout 60 mpirun -n "$ranks" "$work/build-mpi/all_reduce_perf" -b 8 -e 8 -g 1 > "$work/results/mpi.txt" 2>&1; then
    beside=(--nccl-tests "$work/build-mpi/all_reduce_perf" --mpiexec mpirun --nranks "$ranks")
  fi
}

probe() { # seconds, name, options of sweep...
  local limit=$1 name=$2
  shift 2
  step "$limit" "$name" python3 -m ncclprobe sweep --backend nccl --nranks "$ranks" --seed 1 --out "$work/results/$name" "$@"
}

tests=(python3 -m pytest -v --tb=short -m gpu -p no:cacheprovider -c "$root/pyproject.toml")
for one in $steps; do
  case $one in
  smoke) probe 60 smoke --algo Ring,Tree --proto LL,Simple --sizes 8,1M,64M --budget 8 ;;
  one) # GPU for two ranks: functions only
    CUDA_VISIBLE_DEVICES=0 step 200 one "${tests[@]}" --maxfail=8 --durations=4 "$root/tests/gpu"
    ;;
  tests) step 200 tests "${tests[@]}" --maxfail=8 --durations=8 "$root/tests/gpu" ;;
  faults) # ranks that are killed, stopped, out of memory, without their plugin, interrupted
    step 450 faults "${tests[@]}" --durations=6 "$root/tests/faults/test_fault_gpus.py"
    ;;
  fidelity)
    choose_build
    [ "$gpus" -ge 2 ] &&
      step 570 fidelity python3 "$root/scripts/nccl_fidelity.py" --what graph,eager --rounds "${ROUNDS:-6}" "${beside[@]}" \
        --out "$work/results"
    ;;
  sweep)
    # shellcheck disable=SC2086
    wait $builds
    grid=(--algo Tree,Ring --proto LL,LL128,Simple --channels default,1,4,8,16 --sizes 8:1G:8)
    time probe 60 sweep "${grid[@]}" --budget 17
    time probe 60 sweep_short "${grid[@]}" --budget 9.5
    probe 60 channels --algo Ring --channels default,16,24,32 --sizes 256K:256M:8 --budget 15
    # shellcheck disable=SC2016
    [ "$gpus" -ge 2 ] && step 130 loop bash -c 'time for channels in 0 1 4 8 16; do for algo in Tree Ring; do
      for proto in LL LL128 Simple; do
        limit=; [ $channels -gt 0 ] && limit="NCCL_MIN_NCHANNELS=$channels NCCL_MAX_NCHANNELS=$channels"
        env $limit NCCL_ALGO=allreduce:$algo NCCL_PROTO=allreduce:$proto "$0" -b 8 -e 1G -f 8 -t "$1" -g 1 -n 20 -w 5 -c 0 \
          > /dev/null || echo "$algo $proto $channels failed"
      done; done; done' "$work/build/all_reduce_perf" "$ranks"
    ;;
  live)
    [ "$gpus" -ge 2 ] &&
      step 110 live python3 "$root/scripts/nccl_fidelity.py" --what live --rounds 2 --nranks "$ranks" --out "$work/results/live"
    ;;
  spread)
    for ms in 10 60; do
      step 120 "spread_$ms" python3 "$root/scripts/nccl_fidelity.py" --what spread --rounds 5 --sample-ms "$ms" --nranks "$ranks" \
        --out "$work/results/spread_$ms"
    done
    ;;
  nodes)
    export NCCLPROBE_NODES=2
    probe 70 nodes --algo Tree,Ring --sizes 8:16M:8 --budget 40
    step 100 applied python3 "$root/scripts/nccl_table_applied.py" "$work/results/nodes" --out "$work/results/applied"
    unset NCCLPROBE_NODES
    ;;
  side) # which of two nodes is slow: without load, then with a load on the second one's GPU
    export NCCLPROBE_NODES=2
    pair=(python3 -m ncclprobe nodes --launcher local --backend nccl --nranks-per-node 1 --size 16M --rounds 6 --seed 1)
    step 80 side_healthy "${pair[@]}" --out "$work/results/side_healthy"
    CUDA_VISIBLE_DEVICES=$(cut -d, -f2 <<< "${CUDA_VISIBLE_DEVICES:-0,1}") timeout 100 python3 -c 'import cupy
a = cupy.ones((8192, 8192), cupy.float32)
while True: a @ a; cupy.cuda.Stream.null.synchronize()' &
    load=$!
    sleep 4
    step 80 side_loaded "${pair[@]}" --out "$work/results/side_loaded"
    kill "$load"
    unset NCCLPROBE_NODES
    ;;
  pairs)
    for seed in 1 2; do
      step 60 "pairs_$seed" python3 -m ncclprobe nodes --each gpu --rounds 6 --seed "$seed" --out "$work/results/pairs_$seed"
    done
    ;;
  table) # the sizes that SGLang sent: the choice as a table, whether it is in force, and nccl-tests with it
    choose_build
    trial=trials/0000-baseline
    mkdir -p "$work/profile"
    tar xzf "$root/data/h200_sglang_202611/bad/trials.tgz" -C "$work/profile" "$trial"
    probe 70 table --profile "$(echo "$work/profile/$trial"/tuner.* | cut -d' ' -f1)" --dtype bfloat16 --algo Tree,Ring \
      --channels default,16,24,32 --budget "${TABLE_S:-30}"
    for form in tuner nvidia-csv; do
      step 20 "table_$form" python3 -m ncclprobe env emit "$work/results/table" --format "$form"
    done
    step 80 table_check python3 -m ncclprobe env check "$work/results/table" --out "$work/results/table_check"
    [ "$gpus" -ge 2 ] && step 200 table_perf python3 "$root/scripts/nccl_tests_table.py" "$work/results/table" \
      "${beside[@]}" --out "$work/results/table_perf"
    ;;
  graph)
    choose_build
    step 250 graph python3 "$root/scripts/nccl_fidelity.py" --what graph "${beside[@]}" --out "$work/results/graph"
    ;;
  many) # GPUs: the whole sweep in the type that models use
    time probe 60 many --algo Tree,Ring --proto LL,LL128,Simple --channels default,4,8,16,24,32 --sizes 8:1G:8 \
      --dtype bfloat16 --budget "${MANY_S:-25}"
    ;;
  alike)
    # What NCCL runs of itself on two GPUs, asked for by name: a winner is a false one. 25 sweeps each of small and large.
    [ "$gpus" -eq 2 ] && step 480 alike python3 "$root/scripts/nccl_alike.py" --out "$work/results/alike"
    ;;
  esac
done
say end
keep
