#!/bin/sh
# Every test, as continuous integration runs it. `./build.sh test` installs what it needs before.
# Ends with `N passed, N failed, N skipped`, the sum of all stages, alone on a line.
#
#   ROUNDS        of the crash test (40)
#   SOAK_SECONDS  of the soak test (300)
#   FUZZ_SECONDS  for each target (10)
#   JOBS          of the builds (the number of processors)
set -u

cd "$(dirname "$0")/.." || exit 1
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)}
make="make -s -j$jobs"
rounds=${ROUNDS:-40}
export SOAK_SECONDS="${SOAK_SECONDS:-300}"
export FUZZ_SECONDS="${FUZZ_SECONDS:-10}"
machine=$(uname -m)
case $(uname -s)-$machine in
Linux-x86_64) static=x86_64-linux-musl ;;
Linux-aarch64) static=aarch64-linux-musl ;;
*) static=host ;;
esac
program=build/$static/baetyl
start=$(date +%s)

# stage TITLE COMMAND: runs later, in order; COMMAND is one shell line without single quotes.
n=0
stage()
{
    n=$((n + 1))
    eval "stage_$n=\$2 title_$n=\$1"
}

skip()
{
    stage "$1" "echo \"skip $1: $2\"; echo \"0 passed, 0 failed, 1 skipped\""
}

stage "build for this machine" "$make all"
stage "unit tests" "$make check-unit"
stage "runtimes" "python3 tests/funcmgr/runtime_test.py"
stage "lint" "$make lint"
stage "build with the address and undefined behaviour sanitizers" "$make SAN=address,undefined all"
stage "unit tests with the address and undefined behaviour sanitizers" "$make SAN=address,undefined check-unit"
stage "unit tests with the thread sanitizer" "$make SAN=thread check-unit"
stage "static build" "$make TARGET=$static all"

cross()
{
    target=$1 compiler=$2 qemu=$3
    [ "$target" != "$static" ] && [ "$(uname -s)" = Linux ] || return 0
    if ! command -v "$compiler" >/dev/null; then
        skip "$target" "no $compiler here"
        return 0
    fi
    stage "build for $target" "$make TARGET=$target all"
    if command -v "$qemu" >/dev/null; then
        stage "unit tests on $target" "$make TARGET=$target check-unit"
    else
        skip "unit tests on $target" "no $qemu here"
    fi
}
cross aarch64-linux-musl aarch64-linux-gnu-gcc qemu-aarch64-static
cross armv7-linux-musleabihf arm-linux-gnueabihf-gcc qemu-arm-static

stage "integration" "BAETYL=$program tests/run.sh"
stage "integration with the address and undefined behaviour sanitizers" \
    "BAETYL=build/host-asan/baetyl BAETYL_SAN=address tests/run.sh connect/ publish/ session/ protocol/ cli/ functions/ tls/ qos2/ will/ ws/ mqtt5/ hostile/ \
    calls/ requests/ rules/ pool/ forkserver/ code_reload/ func_reload/ sql/ exec/ remote/ guides/ storm"
stage "build with the thread sanitizer" "$make SAN=thread all"
stage "integration with the thread sanitizer" \
    "BAETYL=build/host-tsan/baetyl BAETYL_SAN=thread tests/run.sh publish/ session/ qos2/ will/ ws/ functions/ calls/ requests/ rules/ pool/ forkserver/ code_reload/ \
    func_reload/ remote/"
case $static in
x86_64-*) stage "functions in a virtual machine with cgroup v2" "BAETYL=$program python3 tests/vm/vm.py || [ \$? -eq 77 ]" ;;
esac
stage "crash" "BAETYL=$program python3 tests/crash/crash.py $rounds"
stage "soak" "BAETYL=$program tests/soak/run.sh"
stage "fuzz" "make -s fuzz"
stage "build for aarch64-macos" "JOBS=$jobs tests/lint/darwin.sh; case \$? in
    0) echo \"1 passed, 0 failed, 0 skipped\" ;;
    77) echo \"0 passed, 0 failed, 1 skipped\" ;;
    *) echo \"0 passed, 1 failed, 0 skipped\"; exit 1 ;;
    esac"

set --
i=0
while [ $i -lt $n ]; do
    i=$((i + 1))
    eval "title=\$title_$i command=\$stage_$i"
    set -- "$@" "echo \"== [$i/$n \$((\$(date +%s) - $start)) s] $title\"
$command"
done
tests/lint/sum.sh "$@"
code=$?
exit $code
