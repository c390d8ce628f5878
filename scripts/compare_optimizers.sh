#!/usr/bin/env bash
# compare_optimizers.sh MODEL TEXT [...]: trains one small model with every optimizer; bench/compare_optimizers.py says how.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh collie-engine
exec python3 bench/compare_optimizers.py "$@"
