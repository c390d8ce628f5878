#!/usr/bin/env bash
# Writes the part of docs/ that comes from the code's own tables: the configuration keys and the metrics. A test fails if it is stale.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh test_plan test_metrics collie-engine
COLLIE_UPDATE_DOCS=1 build/release/tests/test_plan "the page of the configuration*"
COLLIE_UPDATE_DOCS=1 build/release/tests/test_metrics "the page of the metrics*"
build/release/collie-engine schedule --name 1f1b --stages 4 --microbatches 8 --format svg >docs/1f1b.svg
