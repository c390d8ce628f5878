#!/usr/bin/env bash
# Checks in a bundle whether its programs can run on this machine; fails if they cannot.
set -euo pipefail
cd "$(dirname "$0")"
manifest() { sed -n "s/^$1: //p" MANIFEST; }

needed=$(manifest glibc)
here=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
if [ "$(uname -m)" != "$(manifest machine)" ]; then
  echo "the bundle is for $(manifest machine), this machine is $(uname -m)" >&2
  exit 1
fi
if [ "$(printf '%s\n' "$needed" "$here" | sort -V | sed -n 1p)" != "$needed" ]; then
  echo "the bundle needs glibc $needed or newer, this machine has $here" >&2
  exit 1
fi
echo "glibc $here: new enough (the bundle needs $needed)"
for program in bin/*; do
  missing=$(ldd "$program" | grep 'not found' || true)
  [ -z "$missing" ] || { echo "$program: $missing" >&2; exit 1; }
done
echo "collie-engine $(bin/collie-engine --version) of commit $(manifest commit | cut -c1-12) starts"
