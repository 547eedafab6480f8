#!/bin/sh
# Measures the executable beside Debian's mosquitto: one workload, one machine, in turn. Prints a
# Markdown table with what is to be reached. What the options mean: tests/bench/run.sh --help
set -eu

cd "$(dirname "$0")/../.."
load=${BAETYL_BUILD:-build/host}/bench/load
tests/bench/build.sh "$load"
# Measured is what is shipped: the static executable, when it has been built.
for program in build/x86_64-linux-musl/baetyl build/aarch64-linux-musl/baetyl "${BAETYL:-build/host/baetyl}"; do
    [ ! -x "$program" ] || "$program" version >/dev/null 2>&1 || continue
    [ -x "$program" ] && break
done
exec python3 tests/bench/bench.py --load "$load" --baetyl "$program" "$@"
