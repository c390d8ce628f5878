#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests: those of continuous integration, with --fast those of the one-minute tier,
# with --all also the longest (label long).
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  "") selection=(-LE long) ;;
  --fast) selection=(-L fast) ;;
  --all)
    selection=()
    export COLLIE_TEST_ALL=1  # tests/part.hpp
    ;;
  *)
    sed -n '2,3s/^# \?//p' "$0" >&2
    exit 2
    ;;
esac
scripts/build.sh
ctest --test-dir build/release --output-on-failure --timeout 1800 --parallel "$(nproc)" "${selection[@]}"
