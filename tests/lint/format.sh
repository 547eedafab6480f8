#!/bin/sh
# The tree is as clang-format leaves it. `format.sh --fix [FILE..]` makes it so. Other versions than the one
# the tree is formatted with disagree in small things, so they are not asked.
set -eu

want=14
tool=
for t in "clang-format-$want" clang-format; do
    if command -v "$t" >/dev/null && "$t" --version | grep -q "version $want\."; then
        tool=$t
        break
    fi
done
if [ -z "$tool" ]; then
    echo "no clang-format $want here"
    exit 77
fi
files=$(find core hub agent bridge funcmgr runtime-embed tests third_party -name '*.[ch]' \
    ! -name '*.pb.[ch]' 2>/dev/null | sort)
if [ "${1:-}" = --fix ]; then
    # Comments are folded here, at the column limit; how one reads below it is the writer's.
    style=$(mktemp)
    trap 'rm -f "$style"' EXIT
    sed 's/^ReflowComments: .*/ReflowComments: true/' .clang-format >"$style"
    shift
    # shellcheck disable=SC2086
    [ $# -gt 0 ] || set -- $files
    "$tool" -i --style="file:$style" "$@"
    exit
fi
# shellcheck disable=SC2086
bad=$("$tool" --dry-run $files 2>&1 | sed -n 's/^\([^:]*\):[0-9]*:[0-9]*: .*/\1/p' | sort | uniq -c)
[ -z "$bad" ] || { printf 'places that differ, by file (make format fixes them):\n%s\n' "$bad" && exit 1; }
