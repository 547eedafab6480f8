#!/bin/sh
# Each header of ours compiles alone: it includes what it uses.
set -eu

failed=0
probe=$(mktemp)
trap 'rm -f "$probe"' EXIT
for header in core/*.h hub/*.h hub/*/*.h agent/*.h bridge/*.h funcmgr/*.h funcmgr/*/*.h runtime-embed/*.h; do
    case $header in
    *'*'* | *.pb.h) continue ;;
    esac
    # The compiler's options come from make, quoted for a shell.
    printf '#include "%s"\n' "$header" >"$probe"
    eval "${LINT_CC:-cc} ${LINT_CPPFLAGS:--I. -D_GNU_SOURCE} -std=gnu11 -Wall -Wextra \
        -Wstrict-prototypes -Werror -fsyntax-only -x c $probe" || failed=1
done
exit $failed
