#!/usr/bin/env bash
# Compares the templates of published models, and random expressions, with Jinja2 as transformers sets it up.
#   scripts/check_templates.sh [FOLDER]   FOLDER: *.jinja; without it, those of the source archive of llama-cpp-python
# Needs the Python that COLLIE_PYTHON names (transformers 5.24, jinja2 3.1.6); without it nothing is compared. The archive is
# kept in build/templates. pip reads the package's metadata for its download; nothing of it is built.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${COLLIE_PYTHON:-}" ] || {
  echo "left out: comparison of templates (COLLIE_PYTHON names no Python)"
  exit 0
}
scripts/build.sh render_templates
folder=${1:-}
if [ -z "$folder" ]; then
  kept=build/templates
  [ -f "$kept/complete" ] || {
    rm -rf "$kept"
    mkdir -p "$kept"
    python3 -m venv "$kept/python"
    "$kept/python/bin/pip" install --quiet scikit-build-core
    "$kept/python/bin/pip" download --quiet --no-binary :all: --no-deps --no-build-isolation llama-cpp-python==0.3.36 -d "$kept"
    tar -xzf "$kept"/llama_cpp_python-0.3.36.tar.gz -C "$kept" --strip-components=5 --wildcards '*/vendor/llama.cpp/models/templates/*.jinja'
    touch "$kept/complete"
  }
  folder=$kept
fi
compare() { "$COLLIE_PYTHON" -W ignore tests/golden/compare_templates.py "$1" build/release/tests/render_templates "$2"; }
compare templates "$folder"
compare training "$folder"
compare expressions 20000
