#!/bin/sh
# Two clean builds, in two folders of different names and with different numbers of jobs, give the
# same bytes. Slow: two whole builds. Sources come from the cache.
#
#   reproducible.sh [TARGET]
set -eu

target=${1:-x86_64-linux-musl}
cd "$(dirname "$0")/../.."
[ -x "build/$target/baetyl" ] || { echo "build $target first" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for copy in one another-name; do
    mkdir -p "$work/$copy"
    tar -cf - --exclude=./build --exclude=./.git . | tar -xf - -C "$work/$copy"
done
make -s -C "$work/one" -j2 TARGET="$target" BUILD="build/$target" >"$work/log" 2>&1 || { tail "$work/log" && exit 1; }
TZ=Asia/Tokyo LC_ALL=C make -s -C "$work/another-name" -j3 TARGET="$target" BUILD="build/$target" >"$work/log" 2>&1 ||
    { tail "$work/log" && exit 1; }
cmp "$work/one/build/$target/baetyl" "$work/another-name/build/$target/baetyl"
sha256sum <"$work/one/build/$target/baetyl" | sed "s/-/$target, twice the same/"
