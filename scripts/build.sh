#!/usr/bin/env bash
# Installs missing packages and builds the project in build/release. Arguments are targets; without them it builds everything.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_dependencies.sh
cmake --preset release ${COLLIE_CMAKE_ARGS:-} >/dev/null
cmake --build --preset release ${1:+--target "$@"}
