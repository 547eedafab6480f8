#!/bin/sh
# Builds tests/fuzz/fuzz_*.c and runs each over its corpus. A target defines LLVMFuzzerTestOneInput.
#
#   fuzz.sh OUT LIBRARY...     FUZZ_SECONDS (default 20) each, FUZZ_ONLY: names, else all
#
# With clang and libFuzzer the modules are compiled again with coverage; without, the standalone
# driver feeds each file of the corpus, and mutations of it, through the same targets.
set -u

out=$1
shift
cd "$(dirname "$0")/../.." || exit 1
seconds=${FUZZ_SECONDS:-20}
passed=0 failed=0 skipped=0
mkdir -p "$out"

probe=$out/probe.c
echo 'int LLVMFuzzerTestOneInput(const char *p, unsigned long n) { return p && n ? 0 : 0; }' >"$probe"
san=-fsanitize=address,undefined
clang=
for c in clang clang-14 clang-15 clang-16; do
    if command -v $c >/dev/null && $c -fsanitize=fuzzer,address "$probe" -o "$out/probe" 2>/dev/null; then
        clang=$c
        break
    fi
done
objects=
if [ -n "$clang" ]; then
    # Our code once with coverage, in one archive; a target that includes a .c leaves its copy out.
    case $(uname -s) in
    Darwin) other=linux ;;
    *) other=darwin ;;
    esac
    for source in core/*.c hub/*.c hub/*/*.c agent/*.c bridge/*.c funcmgr/*.c funcmgr/*/*.c runtime-embed/*.c; do
        case $source in
        *'*'* | core/main.c | runtime-embed/embed.c | *_$other.c) continue ;;
        esac
        object=$out/$(echo "$source" | tr / _).o
        objects="$objects $object"
        [ "$object" -nt "$source" ] && [ -z "$(find core hub funcmgr bridge agent runtime-embed \
            -name '*.h' -newer "$object" 2>/dev/null | head -n 1)" ] && continue
        # shellcheck disable=SC2086
        eval "$clang -std=gnu11 -O1 -g -w $san -fsanitize=fuzzer-no-link $LINT_CPPFLAGS -c $source -o $object" ||
            exit 1
    done
    # shellcheck disable=SC2086
    rm -f "$out/libfuzzed.a" && ar rcD "$out/libfuzzed.a" $objects $(ls "$(dirname "$1")"/gen/*.o 2>/dev/null)
    shift
    set -- "$out/libfuzzed.a" "$@"
fi

for target in tests/fuzz/fuzz_*.c; do
    [ -f "$target" ] || continue
    name=$(basename "$target" .c)
    name=${name#fuzz_}
    case " ${FUZZ_ONLY:-$name} " in
    *" $name "*) ;;
    *) continue ;;
    esac
    seeds=tests/fuzz/corpus/$name
    work=$out/corpus-$name
    mkdir -p "$work" "$out/crash-$name"
    [ -d "$seeds" ] || seeds=
    dict=tests/fuzz/dict/$name
    [ -f "$dict" ] && dict=-dict=$dict || dict=
    if [ -n "$clang" ]; then
        eval "$clang -std=gnu11 -O1 -g -w $san -fsanitize=fuzzer $LINT_CPPFLAGS $target -o $out/$name $*" || exit 1
        # shellcheck disable=SC2086
        UBSAN_OPTIONS=halt_on_error=1 "$out/$name" -max_total_time="$seconds" -timeout=10 \
            -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 -artifact_prefix="$out/crash-$name/" \
            $dict "$work" $seeds >"$out/$name.log" 2>&1
        code=$?
        # libFuzzer says 77 when the target aborts.
        [ $code -ne 77 ] || code=1
    elif [ -f tests/fuzz/standalone.c ]; then
        eval "${LINT_CC:-cc} -std=gnu11 -O1 -g -w $LINT_CPPFLAGS $target tests/fuzz/standalone.c -o $out/$name $*" || exit 1
        # shellcheck disable=SC2086
        timeout $((seconds + 60)) "$out/$name" "$seconds" $seeds >"$out/$name.log" 2>&1
        code=$?
    else
        code=77
        echo "no libFuzzer and no standalone driver" >"$out/$name.log"
    fi
    case $code in
    0)
        passed=$((passed + 1))
        echo "ok   fuzz/$name: $(sed -n 's/^stat::number_of_executed_units: */runs /p' "$out/$name.log" | tail -n 1)"
        ;;
    77)
        skipped=$((skipped + 1))
        echo "skip fuzz/$name: $(tail -n 1 "$out/$name.log")"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAIL fuzz/$name (exit $code), input in $out/crash-$name"
        grep -v '^#[0-9]' "$out/$name.log" | tail -n 30 | sed 's/^/    /'
        ;;
    esac
done
echo "fuzz: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
