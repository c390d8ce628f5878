#!/usr/bin/env bash
# Proves that a change of the code changes no bit of a result: two builds of the engine do twelve runs each, and their losses, norms
# and final weights must be equal. Both run on one machine, because bits differ between processors.
#   scripts/equality.sh OLD_ENGINE NEW_ENGINE      e.g. the previous commit's, and build/release/collie-engine
# Prints a line for each run. If a run differs, it prints the first step that differs, and the exit code is 1.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -eq 2 ] || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 2; }
engines=("$(realpath "$1")" "$(realpath "$2")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
different=0

# train FOLDER ENGINE ARGUMENT...: trains one run. Its output goes into a log, and a failed run's log is shown.
train() {
  local folder=$1 engine=$2
  shift 2
  "$engine" run configs/quickstart.yaml --set "run.dir=$folder" --set monitor.trace=false --set eval.every_n_steps=0 \
    --set checkpoint.every_n_steps=0 --set lr_scheduler.warmup_steps=4 "$@" >"$folder.log" 2>&1 ||
    { tail -20 "$folder.log" >&2; return 1; }
}
# Prints the values of each step that must be equal: all except its time and memory.
numbers() {
  sed -E 's/"(tokens_per_second|step_seconds|memory_bytes)":[^,}]*,?//g' "$1/metrics.jsonl"
}

# compare NAME ARGUMENT...: trains with both builds and compares. NAME "resume" trains half of the steps first.
compare() {
  local name=$1
  shift
  local folders=()
  for i in 0 1; do
    local folder=$work/$name.$i
    folders+=("$folder")
    if [ "$name" = resume ]; then
      train "$folder" "${engines[$i]}" "$@" --set train.steps=6 --set checkpoint.every_n_steps=3
      rm -r "$folder/final" "$folder/checkpoints/step-00000006"
      train "$folder" "${engines[$i]}" "$@" --set train.steps=6 --set checkpoint.every_n_steps=3 --resume
    else
      train "$folder" "${engines[$i]}" "$@"
    fi
  done
  local steps weights
  steps=$(numbers "${folders[0]}" | wc -l)
  weights=$(sha256sum <"${folders[0]}/final/model.safetensors")
  if ! cmp -s <(numbers "${folders[0]}") <(numbers "${folders[1]}"); then
    echo "$name: DIFFERENT; the first step that differs, old and new:"
    diff <(numbers "${folders[0]}") <(numbers "${folders[1]}") | grep '^[<>]' | sort -t: -k2,2n | head -2
    different=1
  elif [ "$weights" != "$(sha256sum <"${folders[1]}/final/model.safetensors")" ]; then
    echo "$name: DIFFERENT in the final weights, after $steps steps with the same losses"
    different=1
  else
    echo "$name: $steps steps and the final weights (${weights:0:12}) are the same"
  fi
}

short=(--set train.steps=12)
one=(--set parallel.pp_size=1)
compare quickstart --set train.steps=60
compare one_rank "${short[@]}" "${one[@]}" --set train.clip_grad_norm=0.5
compare tensor "${short[@]}" "${one[@]}" --set parallel.tp_size=2 --set parallel.sequence_parallel=true
compare context "${short[@]}" "${one[@]}" --set parallel.cp_size=2
compare zero_1 "${short[@]}" "${one[@]}" --set parallel.dp_size=2 --set parallel.zero_stage=1
compare zero_3 "${short[@]}" "${one[@]}" --set parallel.dp_size=2 --set parallel.zero_stage=3
compare grid "${short[@]}" --set parallel.dp_size=2 --set parallel.tp_size=2 --set parallel.zero_stage=2
compare interleaved "${short[@]}" --set parallel.schedule=interleaved_1f1b --set parallel.virtual_stages=2
compare zero_bubble "${short[@]}" --set parallel.schedule=zb_h1 --set model.recompute=full
compare unpacked "${short[@]}" --set data.packing=false --set train.micro_batch_size=2
compare untied "${short[@]}" --set model.config.tie_word_embeddings=false
compare resume
exit $different
