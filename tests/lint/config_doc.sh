#!/bin/sh
# docs/config.md is what the option tables say. `make regen` writes it.
set -eu

program=${BAETYL:-build/host/baetyl}
if [ ! -x "$program" ]; then
    echo "no executable at $program"
    exit 77
fi
"$program" config --markdown | diff -u docs/config.md - ||
    { echo "docs/config.md is not current: make regen" && exit 1; }
