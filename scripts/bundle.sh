#!/usr/bin/env bash
# bundle.sh [--built] [PROGRAM...]: packs the programs of build/release (by default the command, benchmarks, tests and the example)
# with all shared libraries that they need, except the C library's, into build/collie-engine-VERSION-COMMIT.tar.xz. The bundle
# runs from any folder, also on a machine where nothing can be installed. Without --built the programs are built first.
#
# NVIDIA's libraries are not in the bundle: the engine finds them on the machine it runs on (see base/library_folders.hpp).
# The machine's C library must be at least as new as the one here; check.sh in the bundle tells whether it is.
set -euo pipefail  # so every command below must read its pipe to the end
cd "$(dirname "$0")/.."
build=build/release

programs_built() {
  find "$build" -maxdepth 3 -type f -executable \( -name collie-engine -o -name 'bench_*' -o -name 'test_*' -o -name collie-embed \)
}

built=false
if [ "${1:-}" = --built ]; then
  built=true
  shift
fi
if $built; then
  scripts/install_dependencies.sh patchelf xz-utils
else
  if [ $# -gt 0 ]; then scripts/build.sh "$@"; else scripts/build.sh all device_tests; fi
  scripts/install_dependencies.sh patchelf xz-utils
fi

mapfile -t programs < <(programs_built | sort)
if [ $# -gt 0 ]; then
  wanted=()
  for name in "$@"; do
    found=$(printf '%s\n' "${programs[@]}" | grep -E "/$name\$") || { echo "$build has no program $name" >&2; exit 1; }
    wanted+=("$found")
  done
  programs=("${wanted[@]}")
fi

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || commit+=-changed
version=$(sed -nE 's/^project\(collie-engine VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
name=collie-engine-$version-$commit
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bundle=$work/$name
mkdir -p "$bundle"/{bin,lib,licenses,tests,bench}

# The C library's parts come from the machine, because they belong to its kernel.
of_the_c_library='^(ld-linux.*|lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|nsl|nss_.*|BrokenLocale|thread_db))\.so'

# libraries_of FILE: prints "NAME PATH" of each shared library that it needs, directly or through other libraries.
libraries_of() {
  ldd "$1" | awk -v file="$1" '/not found/ { print file ": " $0 > "/dev/stderr"; exit 1 } $2 == "=>" { print $1, $3 }' |
    grep -vE "$of_the_c_library" || true
}

# package_of FILE: prints the Debian or Ubuntu package of the file, which may list it below /lib or below /usr/lib.
package_of() {
  local file
  file=$(readlink -f "$1")
  { dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}" 2>/dev/null || true; } | sed -n '1s/:.*//p'
}

cp "${programs[@]}" "$bundle/bin/"
strip "$bundle"/bin/*
# This library is loaded at run time and not linked (kernels/cpu/blas.cpp).
openblas=$(ldconfig -p | awk '$1 == "libopenblas.so.0" && !found { print $NF; found = 1 }')
[ -n "$openblas" ] || { echo "there is no libopenblas.so.0 here" >&2; exit 1; }
{
  for program in "${programs[@]}"; do libraries_of "$program"; done
  echo "libopenblas.so.0 $openblas"
  libraries_of "$openblas"
} | sort -u >"$work/libraries"
while read -r library path; do
  cp -L "$path" "$bundle/lib/$library"
  [[ $path != "$PWD/$build/"* ]] || continue  # the engine's own
  package=$(package_of "$path")
  [ -n "$package" ] || { echo "$path is of no package: its licence is not known" >&2; exit 1; }
  cp -L "/usr/share/doc/$package/copyright" "$bundle/licenses/$package"
  dpkg-query -W -f='${Package} ${Version}\n' "$package" >>"$work/packages"
done <"$work/libraries"
plugin=$build/examples/plugin/example_plugin.so  # for the tests
[ ! -e "$plugin" ] || cp "$plugin" "$bundle/lib/"
chmod u+w "$bundle"/lib/*
strip --strip-unneeded "$bundle"/lib/*
# RPATH is used and not RUNPATH, because it precedes LD_LIBRARY_PATH, which on clusters has libraries of other versions.
for program in "$bundle"/bin/*; do patchelf --force-rpath --set-rpath '$ORIGIN/../lib' "$program"; done
for library in "$bundle"/lib/*; do patchelf --force-rpath --set-rpath '$ORIGIN' "$library"; done

cp -r configs README.md LICENSE CHANGELOG.md docs "$bundle/"
cp -r tests/golden "$bundle/tests/"
cp bench/*.py "$bundle/bench/"
cp scripts/bundle_check.sh "$bundle/check.sh"

# setting NAME: prints a setting of the build.
setting() { sed -nE "s/^$1:[A-Z]+=//p" "$build/CMakeCache.txt"; }
nvcc=$(setting COLLIE_NVCC)
cuda=none
[ -x "$nvcc" ] && cuda="$("$nvcc" --version | sed -nE 's/.*release ([0-9.]+).*/\1/p') for $(setting COLLIE_CUDA_ARCHITECTURES)"
needed_glibc=$(objdump -T "$bundle"/bin/* "$bundle"/lib/* | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)
{
  echo "commit: $(git rev-parse HEAD 2>/dev/null || echo unknown)$([[ $commit == *-changed ]] && echo ', with changes')"
  echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  echo "machine: $(uname -m)"
  echo "compiler: $("$(setting CMAKE_CXX_COMPILER)" --version | sed -n 1p)"
  echo "CUDA: $cuda"
  echo "glibc: ${needed_glibc#GLIBC_}"
  sort -u "$work/packages" | sed 's/^/library: /'
} >"$bundle/MANIFEST"

# No library may come from this machine's own folders.
for file in "$bundle"/bin/* "$bundle"/lib/*; do
  outside=$(env -i PATH="$PATH" ldd "$file" | awk '$2 == "=>" { print $1, $3 }' | grep -vE "$of_the_c_library" | grep -v " $bundle/" || true)
  [ -z "$outside" ] || { echo "$(basename "$file") takes from outside the bundle: $outside" >&2; exit 1; }
done
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -c "$name" | xz -T0 -6 >"build/$name.tar.xz"
cat "$bundle/MANIFEST"
du -h "build/$name.tar.xz"
