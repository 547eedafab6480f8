#!/bin/sh
# The integration tests against one executable: run.sh [PART-OF-A-NAME...]. `make check` says which
# one in $BAETYL; otherwise it is the host's.
set -u

cd "$(dirname "$0")/.."
BAETYL=${BAETYL:-build/host/baetyl}
if [ ! -x "$BAETYL" ]; then
    echo "skip integration: there is no $BAETYL"
    echo "integration: 0 passed, 0 failed, 1 skipped"
    exit 0
fi
export BAETYL
tools=$(tests/tools.sh)
eval "$tools"
export PYTHON27="${PYTHON27:-}" NODE8="${NODE8:-}" NODE_CLIENTS="${NODE_CLIENTS:-}"
ulimit -n "$(ulimit -H -n)" 2>/dev/null
exec "$TEST_PYTHON" tests/integration/main.py "$@"
