#!/usr/bin/env bash
# check_package.sh [BUILD [FOLDER]]: installs what is built in BUILD (build/release) under FOLDER (a temporary one), moves it, and
# builds examples/embed and examples/plugin against it, outside the project's tree. Runs both, the plugin with the installed command.
# check_package.sh --deb [BUILD]: makes the Debian packages, unpacks them into a folder, and does the same with what is in there.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
deb=false
[ "${1:-}" != --deb ] || { deb=true; shift; }
build=$(realpath "${1:-$source/build/release}")
work=${2:-$(mktemp -d)}
[ $# -gt 1 ] || trap 'rm -rf "$work"' EXIT
rm -rf "$work"
mkdir -p "$work"
fail() { echo "check_package.sh: $*" >&2; exit 1; }

if $deb; then
  "$source/scripts/install_dependencies.sh" dpkg-dev file
  (cd "$build" && cpack -G DEB -B "$work/packages") >"$work/cpack.log" 2>&1 || { cat "$work/cpack.log"; fail "cpack failed"; }
  mkdir "$work/root"
  for package in "$work"/packages/*.deb; do
    dpkg-deb --info "$package" | sed -nE 's/^ (Package|Version|Depends|Installed-Size): /\1: /p'
    dpkg-deb -x "$package" "$work/root"
  done
  mv "$work/root/usr" "$work/moved"
else
  cmake --install "$build" --prefix "$work/first" >"$work/install.log"
  mv "$work/first" "$work/moved"  # nothing may depend on where it was installed
fi
prefix=$work/moved

# No path of this build is in what was installed, and libraries are looked for beside the command alone.
found=$(grep -rlI -e "$source" -e "$build" "$prefix" || true)
[ -z "$found" ] || fail "these files name a folder of the build: $found"
for file in "$prefix"/bin/collie-engine "$prefix"/lib*/libcollie.so "$prefix"/lib/*/libcollie.so; do
  [ -e "$file" ] || continue
  paths=$(readelf -d "$file" | sed -nE 's/.*(RPATH|RUNPATH).*\[(.*)\]/\2/p')
  case $paths in "" | '$ORIGIN/'*) ;; *) fail "$file looks for libraries in $paths" ;; esac
done

# Every header that a header includes is there, and so are the libraries of those that are not the project's.
headers=$prefix/include/collie
(cd "$headers" && grep -rhoE '^#include "[^"]+"' . | sort -u | cut -d'"' -f2 | while read -r header; do
  [ -e "$header" ] || { grep -rl "\"$header\"" . >&2; fail "$header is included, but not installed"; }
done)
others=$(cd "$headers" && grep -rhoE '^#include <[a-z_]+/[^>]*>' . | sort -u | grep -vE '<(caf|fmt|nlohmann|spdlog|sys)/' || true)
[ -z "$others" ] || fail "installed headers include $others, which the package does not ask for"

# Both examples, as somebody else builds them.
examples=$(dirname "$(find "$prefix/share/doc" -type d -name embed)")
launcher=()
! command -v ccache >/dev/null || launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
for example in embed plugin; do
  cp -r "$examples/$example" "$work/$example"
  cmake -G Ninja -S "$work/$example" -B "$work/$example/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_CXX_FLAGS="-O1 -Wall -Wextra -Werror" "${launcher[@]}" >"$work/$example.log"
  cmake --build "$work/$example/build" >>"$work/$example.log" || { cat "$work/$example.log"; fail "examples/$example did not build"; }
done

cd "$work"
for i in $(seq 200); do echo "the quick dog herds the sheep over hills in wind and rain, $((i % 7)) at a time"; done >text.txt
embed/build/collie-embed text.txt embedded >embed.out || { cat embed.out; fail "collie-embed failed"; }
grep -q "stopped early" embed.out || { cat embed.out; fail "the callback of collie-embed did not end its run"; }

engine=$prefix/bin/collie-engine
[ "$("$engine" --version)" = "$(sed -nE 's/^project\(collie-engine VERSION ([0-9.]+).*/\1/p' "$source/CMakeLists.txt")" ] ||
  fail "the installed command has another version"
cat >config.yaml <<'END'
plugins: [plugin/build/example_plugin.so]
run: {name: package, dir: run}
model:
  from_scratch: true
  config: {model_type: llama, hidden_size: 32, intermediate_size: 80, num_hidden_layers: 2, num_attention_heads: 4,
           max_position_embeddings: 64, tie_word_embeddings: true}
tokenizer: {kind: byte}
data: {train: [{path: text.txt, format: lines}], sequence_length: 32}
train: {steps: 5}
optimizer: {name: signum}
lr_scheduler: {name: triangle}
END
"$engine" run config.yaml 2>run.log || { cat run.log; fail "a run with the plugin failed"; }
grep -q "with the plugin example_plugin.so" run.log || fail "the run does not say which plugin it has"
[ "$(wc -l <run/metrics.jsonl)" = 5 ] || fail "the run has not made its 5 steps"
echo "installed, moved, and built against: collie-engine $("$engine" --version)"
