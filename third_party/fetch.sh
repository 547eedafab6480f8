#!/bin/sh
# Puts the sources of the libraries named in manifest.tsv under DEST, one folder each.
#
#   third_party/fetch.sh DEST [NAME...]        all names without NAME
#
# Each archive comes from the first place that has it: the cache (files named by their SHA-256),
# upstream, the pool of the Debian mirror this machine uses. Its hash decides whether it is taken.
# A failed hash stops everything: that is an attack or a broken mirror, never a thing to get past.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
manifest=${BAETYL_MANIFEST:-$here/manifest.tsv}
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/baetyl
dest=$1
shift

say()
{
    echo "  third_party: $*"
}

die()
{
    echo "third_party: $*" >&2
    exit 1
}

sha256()
{
    if command -v sha256sum >/dev/null; then
        sha256sum "$1" | cut -d' ' -f1
    else
        shasum -a 256 "$1" | cut -d' ' -f1
    fi
}

# The first Debian or Ubuntu archive in apt's own configuration; empty when there is none.
pool_mirror()
{
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list \
        2>/dev/null | sed -n -e 's/^URIs:[[:space:]]*//p' -e 's/^deb \(\[[^]]*\] *\)\{0,1\}//p' |
        tr ' ' '\n' | sed -n -E 's,/+$,,; /\/(debian|ubuntu)$/p' | head -n 1
}

# take FILE SHA256 SOURCE NAME: FILE is in the cache when its hash is right, else stops.
take()
{
    got=$(sha256 "$1")
    if [ "$got" != "$2" ]; then
        rm -f "$1"
        die "wrong SHA-256 for the archive of $4
  file:     $1
  source:   $3
  expected: $2
  got:      $got"
    fi
    [ "$1" = "$cache/$2" ] || mv "$1" "$cache/$2"
}

# obtain NAME SHA256 URL POOL: 0 when the cache holds the archive afterwards.
obtain()
{
    if [ -f "$cache/$2" ]; then
        take "$cache/$2" "$2" "the cache, $cache/$2" "$1"
        return 0
    fi
    tmp=$cache/$1.$$.part
    if [ "$3" != - ] && command -v curl >/dev/null &&
        curl -fsSL --connect-timeout 10 --max-time 300 -o "$tmp" "$3" 2>/dev/null; then
        take "$tmp" "$2" "$3" "$1"
        say "$1: from upstream"
        return 0
    fi
    rm -f "$tmp"
    mirror=$(pool_mirror)
    [ "$4" != - ] && [ -n "$mirror" ] || return 1
    if [ -x /usr/lib/apt/apt-helper ]; then
        # apt-helper knows the proxies and certificates of this machine; the hash is ours to check.
        /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
            "$mirror/pool/main/$4" "$tmp" >/dev/null 2>&1 || return 1
    else
        curl -fsSL --connect-timeout 10 -o "$tmp" "$mirror/pool/main/$4" || return 1
    fi
    take "$tmp" "$2" "pool/main/$4 of the Debian mirror of this machine" "$1"
    say "$1: from the Debian pool"
}

# unpack NAME VERSION SHA256 STRIP CHECK
unpack()
{
    tmp=$dest/.$1.$$
    rm -rf "$tmp" "${dest:?}/$1"
    mkdir -p "$tmp"
    case $(od -An -tx1 -N2 "$cache/$3" | tr -d ' ') in
    504b) unzip -q -DD "$cache/$3" -d "$tmp" ;;
    425a) tar -mxjf "$cache/$3" -C "$tmp" ;;
    fd37) tar -mxJf "$cache/$3" -C "$tmp" ;;
    *) tar -mxzf "$cache/$3" -C "$tmp" ;;
    esac
    [ -d "$tmp/$4" ] || die "$1: the archive has no folder $4"
    if [ "$1" = sqlite ] && [ ! -f "$tmp/$4/sqlite3.c" ]; then
        say "sqlite: making the amalgamation"
        (cd "$tmp/$4" && ./configure >configure.out 2>&1 && make sqlite3.c >make.out 2>&1) ||
            die "sqlite: cannot make sqlite3.c, see $tmp/$4"
        # The tree it was made from is 200 MB and not needed any more.
        (cd "$tmp/$4" && mkdir .keep && mv sqlite3.c sqlite3.h LICENSE.md .keep && rm -rf -- * &&
            mv .keep/* . && rmdir .keep)
    fi
    if [ "$5" != - ]; then
        want=${5%% *} file=$tmp/$4/${5##* }
        got=$(sha256 "$file")
        [ "$got" = "$want" ] || die "wrong SHA-256 for ${5##* } of $1
  source:   made from the archive $3
  expected: $want
  got:      $got"
    fi
    mv "$tmp/$4" "$dest/$1"
    rm -rf "$tmp"
    echo "$2 $3" >"$dest/$1/.baetyl"
}

# One library: its rows are alternatives. The cache is asked for all of them before any network.
library()
{
    rows=$(awk -F '\t' -v n="$1" '$1 == n' "$manifest")
    [ -n "$rows" ] || die "no row for '$1' in $manifest"
    if [ -f "$dest/$1/.baetyl" ] && echo "$rows" | grep -q "$(cut -d' ' -f2 "$dest/$1/.baetyl")"; then
        return 0
    fi
    sorted=$(echo "$rows" | while IFS='	' read -r n v sha rest; do
        [ -f "$cache/$sha" ] && rank=0 || rank=1
        printf '%s\t%s\t%s\t%s\t%s\n' $rank "$n" "$v" "$sha" "$rest"
    done | sort -s -n -k1,1)
    while IFS='	' read -r _ name version sha strip url pool _ check; do
        if obtain "$name" "$sha" "$url" "$pool"; then
            unpack "$name" "$version" "$sha" "$strip" "$check"
            return 0
        fi
    done <<EOF
$sorted
EOF
    die "cannot get $1: not in the cache ($cache), upstream and the Debian pool do not answer.
  Put one of these files there, named by its SHA-256:
$(echo "$rows" | awk -F '\t' '{ printf "    %s  %s\n", $3, ($5 == "-" ? "pool/main/" $6 : $5) }')"
}

mkdir -p "$dest" "$cache"
[ $# -gt 0 ] || set -- $(awk -F '\t' '!/^#/ && NF > 1 && !seen[$1]++ { print $1 }' "$manifest")

# All at once: the wait is the network and the amalgamation of sqlite.
pids=
for name; do
    (library "$name") &
    pids="$pids $!"
done
failed=0
for pid in $pids; do
    wait "$pid" || failed=1
done
exit $failed
