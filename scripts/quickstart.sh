#!/usr/bin/env bash
# From a fresh clone to a language model that has learnt: installs what is missing, builds, trains a small Llama on licence
# texts that every Debian and Ubuntu carries, through a pipeline of two stages, and lets it write.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh collie-engine

engine=build/release/collie-engine
# --resume: a second call goes on where the first stopped, or just writes once more.
"$engine" run configs/quickstart.yaml --resume
echo "What it writes after \"This License\":" >&2
sample=$(mktemp)
trap 'rm -f "$sample"' EXIT
"$engine" generate --model runs/quickstart/final --prompt "This License" --max-new-tokens 300 --temperature 0.6 | tee "$sample"
scripts/check_words.sh "$sample" /usr/share/common-licenses/{GPL-2,GPL-3,LGPL-2.1} >&2
