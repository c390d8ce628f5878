#!/usr/bin/env bash
# Compares metrics with sacreBLEU, rouge-score, scikit-learn, lm-evaluation-harness and NLTK on random cases.
#   scripts/check_metrics.sh [CASES [SEED]]   CASES: 1000 by default
# Needs the Python that COLLIE_PYTHON names (sacrebleu, rouge-score, scikit-learn, lm_eval); without it nothing is compared.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${COLLIE_PYTHON:-}" ] || {
  echo "left out: comparison of metrics (COLLIE_PYTHON names no Python)"
  exit 0
}
scripts/build.sh compute_metrics
"$COLLIE_PYTHON" -W ignore tests/golden/compare_metrics.py build/release/tests/compute_metrics "$@"
