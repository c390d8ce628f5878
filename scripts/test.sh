#!/usr/bin/env bash
# Installs what is missing, builds, and runs the tests: all of them, or with --fast those of the one-minute tier.
set -euo pipefail
cd "$(dirname "$0")/.."
selection=()
[ "${1:-}" = "--fast" ] && selection=(-L fast --parallel "$(nproc)")
scripts/build.sh
ctest --test-dir build/release --output-on-failure --timeout 1800 "${selection[@]}"
