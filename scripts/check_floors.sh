#!/usr/bin/env bash
# Fails if a folder includes one that is not on a layer below it, if CAF is included outside actors/ and its hosts, or if
# text from outside is parsed without the bounds of io/json_text and io/config_tree.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A below=(
  [base]="base"
  [kernels]="base kernels"
  [schedule]="base schedule"
  [comm]="base kernels comm"
  [io]="base kernels io"
  [metrics]="base kernels io metrics"
  [models]="base kernels comm io models"
  [optim]="base kernels comm io models optim"
  [peft]="base kernels comm io models peft"
  [net]="base io net"
  [runtime]="base kernels schedule comm io metrics models net optim peft runtime"
  [plan]="base kernels schedule comm io metrics models net optim peft runtime plan"
  [actors]="base kernels schedule comm io metrics models optim peft runtime plan net actors"
  [app]="base kernels schedule comm io metrics models optim peft runtime plan net actors app"
)
status=0
for folder in "${!below[@]}"; do
  allowed="^(${below[$folder]// /|})/"
  while IFS=: read -r file line include; do
    target=${include#*\"}
    target=${target%\"*}
    if ! [[ $target =~ $allowed ]]; then
      echo "$file:$line: includes $target, which does not stand below $folder/" >&2
      status=1
    fi
  done < <(grep -rnE '^#include "(base|kernels|schedule|comm|io|metrics|models|optim|peft|net|runtime|plan|actors|app)/' "$folder" || true)
done
if grep -rnE '^#include <caf/' base kernels schedule comm io metrics models optim peft net runtime plan; then
  echo "CAF is for actors/ alone" >&2
  status=1
fi
if grep -rnE 'json::(sax_)?parse\(|YAML::Load' base kernels schedule comm io metrics models optim peft net runtime plan actors app bench examples |
  grep -vE '^io/(json_text|config_tree)\.cpp:'; then
  echo "JSON is read by io/json_text, YAML by io/config_tree alone" >&2
  status=1
fi
exit $status
