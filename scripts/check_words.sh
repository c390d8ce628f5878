#!/usr/bin/env bash
# check_words.sh SAMPLE_FILE TEXT_FILE...: prints the share of the sample's words that occur in the texts; fails below 80 %.
set -euo pipefail
sample=$1
shift
words() { grep -oE "[[:alpha:]]+" "$@" | tr '[:upper:]' '[:lower:]'; }
known=$(mktemp)
trap 'rm -f "$known"' EXIT
words -h "$@" | sort -u >"$known"
words "$sample" | awk 'NR == FNR { known[$0] = 1; next } { all++; if ($0 in known) found++ }
  END { printf "%d of %d words (%.0f %%) occur in the text\n", found, all, 100 * found / (all ? all : 1)
        exit found < 0.8 * all || all == 0 }' "$known" -
