#!/usr/bin/env bash
# Runs the tests that are too long for continuous integration. Run it before a change counts as done (hours on two cores).
#   scripts/long.sh [PART...]   PART: sources, tests, hostile, fuzz, sanitizers, layouts, packages, sinks, templates, tokenizers, metrics,
#   pytorch; none: all of them
# sources: each source compiles alone, so it includes what it uses. tests: every test. hostile: scripts/hostile.sh. fuzz:
# scripts/fuzz.sh. sanitizers:
# AddressSanitizer and ThreadSanitizer on all code they can check. layouts: every layout against one rank, in one process, two and
# four. packages: scripts/check_package.sh --deb. sinks: scripts/check_sinks.sh (TensorBoard and pandas). templates:
# scripts/check_templates.sh (Jinja2). tokenizers: scripts/check_tokenizers.sh. metrics: scripts/check_metrics.sh (sacreBLEU,
# rouge-score, scikit-learn). pytorch: comparisons with PyTorch and transformers. The last four use the Python that COLLIE_PYTHON
# names (torch, transformers, tokenizers, sacrebleu, rouge-score, scikit-learn, lm_eval); without it they are skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- sources tests hostile fuzz sanitizers layouts packages sinks templates tokenizers metrics pytorch
engine=build/release/collie-engine

sources() {
  cmake --preset release -B build/alone -DCOLLIE_UNITY=OFF -DCOLLIE_CUDA=OFF -DCCACHE_PROGRAM=NO >/dev/null
  python3 - <<'END'
import concurrent.futures, json, os, shlex, subprocess, sys
def complaint(entry):
    words = shlex.split(entry["command"])
    words[words.index("-o") + 1] = "/dev/null"
    run = subprocess.run(words + ["-fsyntax-only"], cwd=entry["directory"], capture_output=True, text=True)
    return run.stderr if run.returncode else ""
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    found = [text for text in pool.map(complaint, json.load(open("build/alone/compile_commands.json"))) if text]
print("\n".join(found))
sys.exit(bool(found))
END
}
tests() {
  COLLIE_CMAKE_ARGS=-UCOLLIE_CUDA_ARCHITECTURES scripts/build.sh all device_tests  # for every GPU, not just continuous integration's
  scripts/test.sh --all
}
hostile() { scripts/hostile.sh; }
fuzz() { scripts/fuzz.sh; }
sanitizers() {
  scripts/sanitize.sh thread
  scripts/sanitize.sh address
}
layouts() {
  scripts/build.sh bench_layouts collie-engine
  build/release/bench/bench_layouts
  build/release/bench/bench_layouts 2
  build/release/bench/bench_layouts 4
}
packages() {
  scripts/build.sh collie-engine
  scripts/check_package.sh --deb
}
sinks() { scripts/check_sinks.sh; }
templates() { scripts/check_templates.sh; }
tokenizers() { scripts/check_tokenizers.sh; }
metrics() { scripts/check_metrics.sh; }
pytorch() {
  [ -n "${COLLIE_PYTHON:-}" ] || { echo "left out: comparisons with PyTorch (COLLIE_PYTHON names no Python)"; return; }
  scripts/build.sh collie-engine
  "$COLLIE_PYTHON" tests/golden/check_schedule_csv.py compare "$engine"
  scripts/check_adapters.sh
  local run
  run=$(mktemp -d)
  "$engine" run configs/quickstart.yaml --set "run.dir=$run/run" --set train.steps=20
  "$COLLIE_PYTHON" tests/golden/check_final_folder.py "$run/run/final"
  local model models number=0
  mapfile -t models < <(grep -v '^#' tests/golden/final_models.txt)
  for model in "${models[@]}"; do
    number=$((number + 1))
    "$engine" run configs/quickstart.yaml --set "run.dir=$run/$number" --set train.steps=20 --set "model.config={$model}" \
      --set parallel.tp_size=2
    "$COLLIE_PYTHON" tests/golden/check_final_folder.py "$run/$number/final" "$engine"
  done
  rm -rf "$run"
  "$COLLIE_PYTHON" tests/golden/check_exported_models.py "$engine"
}

for part in "$@"; do
  case $part in
    sources | tests | hostile | fuzz | sanitizers | layouts | packages | sinks | templates | tokenizers | metrics | pytorch) ;;
    *)
      sed -n '2,11s/^# \?//p' "$0" >&2
      exit 2
      ;;
  esac
done
for part in "$@"; do
  echo "== $part"
  "$part"
done
