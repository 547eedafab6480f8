#!/bin/sh
# Builds the load generator when a source of it is newer: build.sh OUT
set -eu

cd "$(dirname "$0")/../.."
out=$1
if [ ! -x "$out" ] || [ -n "$(find tests/bench -name '*.[ch]' -newer "$out")" ]; then
    mkdir -p "$(dirname "$out")"
    "${CC_BUILD:-cc}" -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -I. \
        $(ls tests/bench/*.c | grep -v bench_store) -o "$out"
fi
