#!/usr/bin/env bash
# From a fresh clone to a language model that has learnt: installs what is missing, builds, trains a small Llama on the
# licence texts that every Debian carries, through a pipeline of two stages, and lets it write.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh collie-engine

engine=build/release/collie-engine
# --resume: a second call goes on where the first stopped, or just writes once more.
"$engine" run configs/quickstart.yaml --resume
echo "A sample of what it has learnt, after \"This License\":" >&2
"$engine" generate --model runs/quickstart/final --prompt "This License" --max-new-tokens 200
