#!/usr/bin/env bash
# Writes the part of docs/ that comes from the code's own tables: the configuration keys. A test fails if it is stale.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh test_plan collie-engine
COLLIE_UPDATE_DOCS=1 build/release/tests/test_plan "the page of the configuration*"
build/release/collie-engine schedule --name 1f1b --stages 4 --microbatches 8 --format svg >docs/1f1b.svg
