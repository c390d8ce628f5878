#!/usr/bin/env bash
# Builds with a sanitizer and runs the tests that it can check. Fails on every finding.
#   scripts/sanitize.sh address [TEST...]   addresses, leaks, undefined behaviour (g++'s -fsanitize=address,undefined)
#   scripts/sanitize.sh thread [TEST...]    data races, lock orders
# TEST: base, kernels, cpu_bfloat16, schedule, comm, io, metrics, models, optim, peft, runtime, plan, net, actors, cli, hostile, fuzz; cuda and devices (the emulated GPU). Without
# TEST, `address` runs all of them, and `thread` runs comm, runtime and net. In those, threads share memory only through instrumented
# code. CAF, oneTBB, OpenBLAS and oneDNN are not instrumented, and their correct accesses would be reported.
# JOBS: jobs of the build; by default one per processor. FILTER: a Catch2 filter, e.g. "~[slow]" for a quick check.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitizer=${1:-}
shift || true
case $sanitizer in
  address) preset=asan all=(base kernels cpu_bfloat16 schedule comm io metrics models optim peft runtime plan net actors cli hostile fuzz cuda devices) ;;
  thread) preset=tsan all=(comm runtime net) ;;
  *)
    sed -n '2,8s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac
[ $# -gt 0 ] || set -- "${all[@]}"

scripts/install_dependencies.sh
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" --parallel "${JOBS:-$(nproc)}" --target "${@/#/test_}"

# Reports go to files, so that reports of processes that a test starts are found too, whatever they print and however they end.
findings=$PWD/build/$preset/findings
rm -rf "$findings"
mkdir -p "$findings"
common="log_path=$findings/report:print_stacktrace=1"
export ASAN_OPTIONS="$common:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1"
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS="$common"
export TSAN_OPTIONS="$common:suppressions=$PWD/tests/tsan.supp:second_deadlock_stack=1"

failed=()
for name in "$@"; do
  printf '%s, %s: ' "$sanitizer" "$name"
  "build/$preset/tests/test_$name" ${FILTER:+"$FILTER"} 2>&1 | tee "$findings/$name.log" | tail -3 | tr -s '\n' ' ' || failed+=("$name")
  echo
done
for report in "$findings"/report.*; do
  [ -e "$report" ] || continue
  cat "$report"
  failed+=("$(basename "$report")")
done
for name in "${failed[@]}"; do
  [ ! -e "$findings/$name.log" ] || { echo "--- $name"; tail -60 "$findings/$name.log"; }
done
[ ${#failed[@]} -eq 0 ] || { echo "failed under the $sanitizer sanitizer: ${failed[*]}" >&2; exit 1; }
