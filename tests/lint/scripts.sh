#!/bin/sh
# Shell scripts parse, are executable and say which shell they want.
set -eu

failed=0
for script in build.sh .ci/run third_party/*.sh $(find tests example -name '*.sh' 2>/dev/null); do
    [ -f "$script" ] || continue
    shell=$(sed -n '1s|^#!.*/\(env \)\{0,1\}||p' "$script")
    case $shell in
    sh | bash) "$shell" -n "$script" || failed=1 ;;
    *) echo "$script: the first line names no shell" && failed=1 ;;
    esac
    [ -x "$script" ] || { echo "$script: not executable" && failed=1; }
done
exit $failed
