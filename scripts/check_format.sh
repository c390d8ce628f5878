#!/usr/bin/env bash
# Fails if a C++ file does not have the format of .clang-format. With --fix it formats the file instead.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=(--dry-run --Werror)
[ "${1:-}" = "--fix" ] && mode=(-i)
git ls-files '*.cpp' '*.hpp' '*.cu' | xargs clang-format-14 "${mode[@]}"
