#!/bin/sh
# Runs each command given, shows its output, adds up the `N passed, N failed, N skipped` each ends
# with, and ends with the sum alone on a line. A command that fails without a count is one failure.
set -u

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for command; do
    code=$({ { sh -c "$command" 2>&1; echo $? >&3; } | tee "$log" >&4; } 3>&1) 4>&1
    counts=$(sed -n -E 's/^(.*: )?([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\2 \3 \4/p' "$log" |
        tail -n 1)
    # shellcheck disable=SC2086
    set -- ${counts:-0 0 0}
    if [ "$code" -ne 0 ] && [ "$2" -eq 0 ]; then
        echo "FAIL $command (exit $code)"
        set -- "$1" 1 "$3"
    fi
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
