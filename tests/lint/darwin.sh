#!/bin/sh
# Everything compiles and links for aarch64-macos, with the cross compiler in the `ziglang` Python
# package. The result is not run. Exit 77 where the package cannot be had.
set -eu

cd "$(dirname "$0")/../.."
venv=build/venv
python=$PWD/$venv/bin/python
if ! "$python" -m ziglang version >/dev/null 2>&1; then
    mkdir -p build
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q ziglang; } >"$venv.log" 2>&1; then
        echo "ziglang for Python cannot be had, see $venv.log"
        exit 77
    fi
fi
export ZIG_GLOBAL_CACHE_DIR="$PWD/build/zig-cache" ZIG_LOCAL_CACHE_DIR="$PWD/build/zig-cache"
zig="$python -m ziglang"
make -s -j"${JOBS:-2}" TARGET=aarch64-macos BUILD=build/aarch64-macos SAN= DEBUG= CC="$zig cc -target aarch64-macos" AR="$zig ar" \
    ${V:+V=1} all >build/darwin.log 2>&1 || { grep -v '^  [A-Z]* ' build/darwin.log | head -n 40 && exit 1; }
[ ! -f core/main.c ] || file build/aarch64-macos/baetyl 2>/dev/null || ls -l build/aarch64-macos/baetyl
