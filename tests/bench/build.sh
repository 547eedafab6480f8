#!/bin/sh
# Builds the load generator when a source of it is newer: build.sh OUT
set -eu

cd "$(dirname "$0")/../.."
out=$1
if [ ! -x "$out" ] || [ -n "$(find tests/bench -name '*.[ch]' -newer "$out")" ]; then
    mkdir -p "$(dirname "$out")"
    cc=${CC_BUILD:-cc}
    # With TLS where OpenSSL is to be had.
    tls=none libs=
    if echo '#include <openssl/ssl.h>' | "$cc" -E - >/dev/null 2>&1; then
        tls=openssl libs='-lssl -lcrypto'
    fi
    # shellcheck disable=SC2046,SC2086
    "$cc" -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -I. \
        $(ls tests/bench/*.c | grep -v -e bench_s -e tls_) tests/bench/tls_$tls.c -o "$out" $libs
fi
