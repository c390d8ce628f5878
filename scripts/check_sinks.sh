#!/usr/bin/env bash
# Trains, kills, interrupts and resumes short runs, and reads their files with TensorBoard, pandas and Python's csv, and
# the page of a running one with Prometheus' parser.
#   scripts/check_sinks.sh     (tests/golden/check_sinks.py, with build/release/collie-engine)
# The Python packages go into build/python-sinks, once.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh collie-engine
python=build/python-sinks
[ -f "$python/complete" ] || {
  rm -rf "$python"
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet tensorboard==2.21.0 pandas==3.1.1 prometheus-client
  touch "$python/complete"
}
"$python/bin/python" tests/golden/check_sinks.py build/release/collie-engine
