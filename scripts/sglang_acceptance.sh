#!/usr/bin/env bash
# Shows on pairs of GPUs what `validate-e2e --workload sglang` promises, with SGLang and a small model of DeepSeek's shape.
#
#   scripts/sglang_acceptance.sh FOLDER OUT [STEP...]
#
# FOLDER holds whl/ (wheels that the machine lacks), sglang/ (install.sh, which unpacks SGLang to /tmp/site) and perhaps
# runs/, where unfinished runs go on. GPUs 0 and 1 are the first pair, 2 and 3 the second; a step waits for its pair.
# Steps: sweep (of what SGLang sent in an earlier run; first pair), ab (the sweep's table against the defaults, first
# pair; where the sweep keeps the defaults, ab.txt says that there is nothing to compare), aa (the same settings twice,
# second pair, or the first one), bad (one channel, likewise), coll (the plugin's records beside NCCL's own log, likewise),
# tp4 (all four GPUs: sweep, then its table against the defaults).
# TRIALS (12) an arm, PROMPTS (3600: 15 s and more of generation), LIMIT_S in all. Runs go to OUT/runs.tgz.
set -u
began=$SECONDS
folder=$(cd "$1" && pwd) out=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
runs=/tmp/ncclprobe-sglang site=/tmp/site trials=${TRIALS:-12} limit=${LIMIT_S:-550}
mkdir -p "$out" "$runs"
[ -d "$folder/runs" ] && cp -rn "$folder/runs/." "$runs"
unset PYTHONDONTWRITEBYTECODE

if [ ! -d "$runs/site" ]; then # once a machine
  CHECK=0 bash "$folder/sglang/install.sh" "$folder/sglang" "$site" > "$runs/install.txt" 2>&1 || tail -5 "$runs/install.txt"
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$runs/site" "$folder"/whl/*.whl
  python3 -m compileall -q -j 16 "$site/site" "$runs/site" "$root/ncclprobe" > /dev/null 2>&1
fi
export PYTHONPATH="$site/site:$root:$runs/site" PYTHONUNBUFFERED=1
export SGLANG_IS_FLASHINFER_AVAILABLE=false HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export TVM_FFI_CACHE_DIR=$site/jitcache TRITON_CACHE_DIR=$site/tritoncache TORCHDYNAMO_DISABLE=1 GLOO_SOCKET_IFNAME=lo
export SGLANG_OPT_USE_CUSTOM_ALL_REDUCE_V2=0 NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1
CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
# Importing one model's file instead of all saves ten seconds a process.
SGLANG_DISABLED_MODEL_ARCHS=$(cd "$site/site/sglang/srt/models" && find . -maxdepth 1 -name '*.py' -printf '%f\n' |
  sed 's/\.py$//' | grep -vx -e deepseek_v2 -e __init__ | paste -sd,)
export CUDA_HOME SGLANG_DISABLED_MODEL_ARCHS
model=(--dtype bfloat16 --attention-backend triton --moe-runner-backend triton --sampling-backend pytorch
  --grammar-backend none --mm-feature-transport cpu --random-seed 1 --disable-radix-cache --mem-fraction-static 0.3
  --max-total-tokens 262144 --max-running-requests 128 --cuda-graph-max-bs-decode 128 --cuda-graph-backend-prefill disabled
  --dataset-name random --random-input-len 256 --random-output-len 192 --random-range-ratio 1.0
  --disable-custom-all-reduce --enforce-disable-flashinfer-allreduce-fusion)
prompts=(--num-prompts "${PROMPTS:-3600}")
gpus=$(nvidia-smi --list-gpus | wc -l)
second=$([ "$gpus" -ge 4 ] && echo 2,3 || echo 0,1)

swept() { # GPUs, name, ranks: as SGLang sets NCCL_CUMEM_ENABLE
  [ -e "$runs/$2/document.json" ] && return
  if [ ! -d "$runs/profile" ]; then
    mkdir -p "$runs/profiled"
    tar xzf "$root/data/h200_sglang_202611/bad/trials.tgz" -C "$runs/profiled" trials/0000-baseline trials/0000-baseline.txt
    python3 -m ncclprobe profile "$runs"/profiled/trials/0000-baseline{,.txt} --out "$runs/profile" > "$runs/profile.txt" 2>&1
  fi
  CUDA_VISIBLE_DEVICES=$1 NCCL_CUMEM_ENABLE=0 timeout 80 python3 -m ncclprobe sweep --backend nccl --nranks "$3" --seed 1 \
    --dtype bfloat16 --algo Tree,Ring --proto LL,LL128,Simple --channels default,16,32 \
    --profile "$runs/profile" --budget 22 --out "$runs/$2" > "$runs/$2.txt" 2>&1
}
compared() { # GPUs, name, ranks, options of validate-e2e...
  local visible=$1 name=$2 ranks=$3 words
  shift 3
  words=(--workload sglang --model mid-deepseek --tp "$ranks" --trials "$trials" --warmup 0 --timeout 200 --out "$runs/$name"
    "$@" -- "${model[@]}" "${prompts[@]}")
  [ -e "$runs/$name/manifest.json" ] && words=(--resume "$runs/$name")
  [ -e "$runs/$name/document.json" ] && return
  CUDA_VISIBLE_DEVICES=$visible timeout -s INT -k 20 "$((limit - SECONDS + began))" \
    python3 -m ncclprobe validate-e2e "${words[@]}" >> "$runs/$name.txt" 2>&1
}
one() {
  case $1 in
  sweep) swept 0,1 sweep 2 ;;
  ab) compared 0,1 ab 2 --seed 5 --candidate "$runs/sweep" ;;
  aa) compared "$second" aa 2 --seed 4 --baseline NCCL_CUMEM_ENABLE=0 --candidate NCCL_CUMEM_ENABLE=0 ;;
  bad) compared "$second" bad 2 --seed 3 --candidate NCCL_MIN_NCHANNELS=1 --candidate NCCL_MAX_NCHANNELS=1 ;;
  coll)
    local trials=1 prompts=(--num-prompts 512) told=NCCL_DEBUG_SUBSYS=INIT,TUNING,COLL
    compared "$second" coll 2 --seed 7 --baseline $told --candidate $told
    python3 "$root/scripts/profile_agreement.py" "$runs"/coll/trials/*-{baseline,candidate} > "$runs/agreement.txt" 2>&1
    ;;
  tp4)
    swept 0,1,2,3 sweep4 4
    compared 0,1,2,3 tp4 4 --seed 6 --candidate "$runs/sweep4"
    ;;
  esac
}
those() { for step in "$@"; do one "$step"; done; }

steps=" ${*:-sweep ab aa} "
first_pair=() second_pair=()
for step in $steps; do
  case $step in aa | bad | coll) second_pair+=("$step") ;; *) first_pair+=("$step") ;; esac
done
if [ "$second" = 2,3 ] && [[ $steps != *" tp4 "* ]]; then
  those "${second_pair[@]}" &
  those "${first_pair[@]}"
  wait
else
  those "${first_pair[@]}" "${second_pair[@]}"
fi
tail -n 30 "$runs"/*.txt
tar czf "$out/runs.tgz" --exclude=model --exclude=site -C "$runs" .
