#!/usr/bin/env bash
# Attacks the engine with mutated files, flipped bits of checkpoints, kills, signals, limits of the system and hostile peers.
# Prints each attack and its count. Fails if anything crashed, hung, was accepted silently, or was lost.
#   scripts/hostile.sh [--quick]   --quick: a sample, within 90 s. The tests must be built (scripts/build.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  "") files=32000 patience=3600 quick=false ;;  # 2,000 of each of the 16 formats
  --quick) files=1600 patience=120 quick=true ;;
  *)
    sed -n '2,4s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
crashes=0 hangs=0 failures=0

# part NAME PROGRAM FILTER [FILTER OF --quick, "-" to skip the part]: runs one part.
part() {
  local name=$1 program=build/release/tests/$2 filter=$3 code=0
  $quick && filter=${4:-$3}
  [ "$filter" = - ] && return
  echo "== $name"
  timeout -k 10 "$patience" "$program" "$filter" >"$logs/$name" 2>&1 || code=$?
  grep -E "^counted: |^[0-9]+ mutated files|^limits: " "$logs/$name" | sed 's/^counted: //; s/^/   /' || true
  grep -q "All tests passed" "$logs/$name" && grep -E "^All tests passed" "$logs/$name" | sed 's/^/   /'
  [ "$code" -eq 0 ] && grep -q "All tests passed" "$logs/$name" && return
  tail -60 "$logs/$name"
  case $code in
    124 | 137) hangs=$((hangs + 1)) ;;
    1[3-9][0-9] | 129) crashes=$((crashes + 1)) ;;
    *) failures=$((failures + 1)) ;;
  esac
}

export COLLIE_HOSTILE_FILES=$files
part files test_hostile "mutated files*"
part bits test_io "every single bit*,a flipped bit*"
part kills test_cli "a run killed at any named point*,a run over two processes of which one is killed*" \
  "a run killed while it computes*"
part signals test_cli "[signals]" "a signal while a run reads*"
part limits test_cli "[limits]" "[limits]~[slow]"
part peers test_cli "[peers]" "[peers]~[slow]"
part handshakes test_net "*" "~[slow]"

echo "parts that crashed: $crashes, that hung: $hangs, in which something was accepted, lost or said wrongly: $failures"
[ $((crashes + hangs + failures)) -eq 0 ]
