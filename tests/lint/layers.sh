#!/bin/sh
# Layer rule: who may include what. Reads every .c and .h of the modules under ROOT (default: .).
#
#   everyone                     -> core/, its own folder
#   agent, bridge, funcmgr       -> hub/hub.h
#   funcmgr                      -> runtime-embed/runtime_embed.h
#   core/main.c, core/cmd_start.c -> the public header of every module
#   a third-party header         -> its one owner file
set -eu

cd "${1:-.}"
find core hub agent bridge funcmgr runtime-embed -name '*.[ch]' 2>/dev/null | sort |
    xargs awk '
function fail(why) {
    printf "%s:%d: %s\n", FILENAME, FNR, why
    bad = 1
}

function owner(pattern, files, library) {
    n_owners++
    header[n_owners] = pattern
    owners[n_owners] = " " files " "
    name[n_owners] = library
}

BEGIN {
    owner("^(sqlite3[a-z]*\\.h)$", "core/db.c core/db_io.c funcmgr/sql/sql_db.c", "SQLite")
    owner("^ev(\\+\\+)?\\.h$", "core/loop.c core/mbox.c", "libev")
    owner("^yaml\\.h$", "core/yaml.c", "libyaml")
    owner("^yyjson\\.h$", "core/json.c", "yyjson")
    owner("^(mbedtls|psa)/", "core/hash.c core/tls.c core/tls_cert.c core/tls_ctx.c core/tls_priv.h core/tls_ticket.c core/tls_time.c", "mbedTLS")
    owner("^pb(_[a-z]+)?\\.h$", "funcmgr/process/frame.c", "nanopb")
}

# The path between the quotes or angles of an include line.
function included(line) {
    sub(/^[ \t]*#[ \t]*include[ \t]*["<]/, "", line)
    sub(/[">].*$/, "", line)
    return line
}

function third_party(path,    i) {
    for (i = 1; i <= n_owners; i++) {
        if (path !~ header[i])
            continue
        if (name[i] == "nanopb" && FILENAME ~ /\.pb\.[ch]$/)
            return
        if (index(owners[i], " " FILENAME " ") == 0)
            fail("<" path "> belongs to" owners[i] "only (" name[i] ")")
    }
}

function ours(path,    from, to) {
    from = FILENAME
    sub(/\/.*/, "", from)
    to = path
    if (!sub(/\/.*/, "", to)) {
        if (FILENAME !~ /\.pb\.[ch]$/)
            fail("\"" path "\": spell the folder from the root")
        return
    }
    if (to == "core" || to == from)
        return
    if (FILENAME == "core/main.c" || FILENAME == "core/cmd_start.c") {
        if (path == to "/" to ".h" || path == "runtime-embed/runtime_embed.h")
            return
    } else if (path == "hub/hub.h" && from ~ /^(agent|bridge|funcmgr)$/) {
        return
    } else if (path == "runtime-embed/runtime_embed.h" && from == "funcmgr") {
        return
    }
    fail("\"" path "\" is not for " from "/")
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    path = included($0)
    third_party(path)
    if (path !~ /^pb(_[a-z]+)?\.h$/)
        ours(path)
}

/^[ \t]*#[ \t]*include[ \t]*</ { third_party(included($0)) }

END { exit bad }
' /dev/null
