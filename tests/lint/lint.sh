#!/bin/sh
# Runs every lint and counts: exit 0 passed, 77 skipped with its reason, else failed.
set -u

cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for lint in ${*:-layers layers_test headers style scripts licenses format config_doc generated}; do
    "tests/lint/$lint.sh" >"$log" 2>&1 </dev/null
    case $? in
    0) passed=$((passed + 1)) ;;
    77)
        skipped=$((skipped + 1))
        echo "skip lint/$lint: $(tail -n 1 "$log")"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAIL lint/$lint"
        sed 's/^/    /' "$log" | head -n 60
        ;;
    esac
done
echo "lint: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
