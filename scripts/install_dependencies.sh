#!/usr/bin/env bash
# Installs the packages that the build needs, on Debian 12 or a newer Debian or Ubuntu, and the packages named as arguments.
# Does nothing if all of them are installed.
set -euo pipefail

# ocl-icd-opencl-dev: what libdnnl-dev's CMake files ask for, and the package only recommends.
packages=(g++ cmake ninja-build pkg-config ccache
  libcaf-dev libssl-dev libtbb-dev libopenblas-pthread-dev libdnnl-dev ocl-icd-opencl-dev libhwy-dev
  libyaml-cpp-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev
  libpcre2-dev libutf8proc-dev libsentencepiece-dev zlib1g-dev libzstd-dev libgloo-dev libboost-context-dev catch2 libbenchmark-dev
  "$@")

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
echo "Installing: ${missing[*]}" >&2
"${as_root[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
