#!/usr/bin/env bash
# Searches with libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer for files that break their readers.
#   scripts/fuzz.sh [SECONDS] [TARGET...]   60 seconds for each target of tests/fuzz/targets, one after another
# It starts from tests/fuzz/seeds and from what earlier calls have found worth keeping (build/fuzz/corpus). It prints for each target
# how many inputs were tried and how many places of the code they reached. It fails on a crash, a leak, undefined behaviour, an
# exception that is no refusal, an input that takes a minute or 2 GiB; the input is then in build/fuzz/found. It becomes a seed when
# the defect is mended.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  seconds=$1
  shift
fi
[ $# -gt 0 ] || set -- $(cd tests/fuzz/seeds && ls)
for target in "$@"; do
  [ -d "tests/fuzz/seeds/$target" ] || { sed -n '3s/^# \?//p' "$0" >&2; echo "no target: $target" >&2; exit 2; }
done

scripts/install_dependencies.sh clang-14 libclang-rt-14-dev
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzz

work=$PWD/build/fuzz
mkdir -p "$work/found"
TMPDIR=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")  # a disk would take most of the time
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export UBSAN_OPTIONS=print_stacktrace=1
failed=()
for target in "$@"; do
  mkdir -p "$work/corpus/$target"
  code=0
  COLLIE_FUZZ_TARGET=$target "$work/tests/fuzz" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=2048 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$work/found/$target-" "$work/corpus/$target" "tests/fuzz/seeds/$target" \
    >"$work/$target.log" 2>&1 || code=$?
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log" | tail -1)
  places=$(grep -oE 'cov: [0-9]+' "$work/$target.log" | tail -1 || true)
  echo "$target: ${inputs:-?} inputs, ${places#cov: } places reached"
  [ "$code" -eq 0 ] && continue
  failed+=("$target")
  grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse|RELOAD)' "$work/$target.log" | tail -60
done
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]} (inputs in build/fuzz/found)" >&2; exit 1; }
