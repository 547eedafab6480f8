#!/bin/sh
# The layer lint must see what it is for: plants one forbidden include at a time and expects a failure.
set -eu

lint=$(cd "$(dirname "$0")" && pwd)/layers.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# expect WANT FILE INCLUDE: WANT is 0 (allowed) or 1 (forbidden).
expect()
{
    rm -rf "$tree"/*
    mkdir -p "$tree/${2%/*}"
    printf '#include "core/base.h"\n#include %s\n' "$3" >"$tree/$2"
    got=0
    "$lint" "$tree" >/dev/null || got=1
    if [ "$got" -ne "$1" ]; then
        echo "$2 including $3: expected $1, got $got"
        failed=1
    fi
}

expect 0 hub/session/session.c '"hub/topic.h"'
expect 0 bridge/remote.c '"hub/hub.h"'
expect 0 funcmgr/rule/rule.c '"runtime-embed/runtime_embed.h"'
expect 0 core/main.c '"agent/agent.h"'
expect 0 core/db.c '<sqlite3.h>'
expect 0 funcmgr/frames.pb.h '<pb.h>'
expect 0 funcmgr/frames.pb.c '"frames.pb.h"'
expect 0 hub/session/session.c '<string.h>'

expect 1 core/log.c '"hub/hub.h"'
expect 1 core/log.h '"hub/hub.h"'
expect 1 core/main.c '"hub/session/session.h"'
expect 1 bridge/remote.c '"hub/session/session.h"'
expect 1 agent/cloud.c '"bridge/bridge.h"'
expect 1 agent/cloud.c '"runtime-embed/runtime_embed.h"'
expect 1 hub/session/session.c '"funcmgr/funcmgr.h"'
expect 1 runtime-embed/runtime_embed.c '"hub/hub.h"'
expect 1 hub/session/session.c '"topic.h"'
expect 1 hub/store/store.c '<sqlite3.h>'
expect 1 hub/store/store.c '"sqlite3.h"'
expect 1 core/db.h '<sqlite3.h>'
expect 1 hub/worker.c '<ev.h>'
expect 1 core/conf.c '<yaml.h>'
expect 1 core/conf.c '<yyjson.h>'
expect 1 hub/listen.c '<mbedtls/ssl.h>'
expect 1 hub/codec.c '<pb_decode.h>'
exit $failed
