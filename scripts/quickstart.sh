#!/usr/bin/env bash
# Goes from a fresh clone to a trained language model. It installs missing packages, builds, trains a small Llama in a pipeline of
# two stages on licence texts that every Debian and Ubuntu has, and generates text with it.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh collie-engine

engine=build/release/collie-engine
# --resume: a second call continues where the first one stopped, or only generates text again.
"$engine" run configs/quickstart.yaml --resume
echo "What it writes after \"This License\":" >&2
sample=$(mktemp)
trap 'rm -f "$sample"' EXIT
"$engine" generate --model runs/quickstart/final --prompt "This License" --max-new-tokens 300 --temperature 0.6 | tee "$sample"
scripts/check_words.sh "$sample" /usr/share/common-licenses/{GPL-2,GPL-3,LGPL-2.1} >&2
