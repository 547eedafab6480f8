#!/bin/sh
# Runs unit test programs, each with a time limit, and counts them: exit 0 passed, 77 skipped.
set -u

passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
limit=
command -v timeout >/dev/null && limit="timeout 120"

for program; do
    name=${program##*/tests/}
    $limit ${RUNNER:-} "$program" >"$log" 2>&1 </dev/null
    code=$?
    case $code in
    0) passed=$((passed + 1)) ;;
    77)
        skipped=$((skipped + 1))
        echo "skip $name: $(tail -n 1 "$log")"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAIL $name (exit $code)"
        sed 's/^/    /' "$log"
        ;;
    esac
done
echo "unit: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
