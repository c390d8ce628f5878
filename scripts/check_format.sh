#!/usr/bin/env bash
# Fails where a C++ file is not formatted as .clang-format says. --fix formats it instead.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(--dry-run --Werror)
[ "${1:-}" = "--fix" ] && mode=(-i)
git ls-files '*.cpp' '*.hpp' '*.cu' | xargs clang-format-14 "${mode[@]}"
