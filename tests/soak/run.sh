#!/bin/sh
# Everything at once for a long time: run.sh, SOAK_HOURS= or SOAK_SECONDS= (300). See soak.py.
set -eu

cd "$(dirname "$0")/../.."
SOAK_LOAD=${BAETYL_BUILD:-build/host}/bench/load
export SOAK_LOAD BAETYL="${BAETYL:-build/host/baetyl}"
tests/bench/build.sh "$SOAK_LOAD"
ulimit -n "$(ulimit -H -n)" 2>/dev/null || true
exec python3 tests/soak/soak.py
