#!/usr/bin/env bash
# Installs what is missing and builds the project in build/release. Arguments are targets; none: everything.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_dependencies.sh
cmake --preset release ${COLLIE_CMAKE_ARGS:-} >/dev/null
cmake --build --preset release ${1:+--target "$@"}
