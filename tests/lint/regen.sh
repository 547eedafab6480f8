#!/bin/sh
# Makes the .pb.c and .pb.h of every .proto again with the generator of the pinned nanopb.
# `regen.sh --check` compares only, and skips where the generator's Python packages cannot be had.
# Building needs none of this: the results are committed.
set -eu

cd "$(dirname "$0")/../.."
protos=$(find core hub agent bridge funcmgr -name '*.proto' 2>/dev/null | sort)
[ -n "$protos" ] || { echo "no .proto here" && exit 77; }
[ -f build/src/nanopb/.baetyl ] || third_party/fetch.sh build/src nanopb
venv=build/venv
if ! "$venv/bin/python" -c 'import grpc_tools, google.protobuf' 2>/dev/null; then
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q 'protobuf<7' 'grpcio-tools<2' setuptools; } \
        >"$venv.log" 2>&1; then
        echo "protobuf and grpcio-tools for Python cannot be had, see $venv.log"
        exit 77
    fi
fi
out=build/regen
rm -rf "$out"
mkdir -p "$out"
for proto in $protos; do
    folder=$(dirname "$proto")
    mkdir -p "$out/$folder"
    # Without -T the files carry the time and version of their making.
    "$venv/bin/python" build/src/nanopb/generator/nanopb_generator.py -q -T -I "$folder" \
        -L '#include <%s>' -D "$out/$folder" "$(basename "$proto")" 2>"$out/log" || { cat "$out/log" && exit 1; }
    for ext in c h; do
        made=${proto%.proto}.pb.$ext
        if [ "${1:-}" = --check ]; then
            diff -u "$made" "$out/$made" || { echo "$made is not current: make regen" && exit 1; }
        else
            cp "$out/$made" "$made"
        fi
    done
done
