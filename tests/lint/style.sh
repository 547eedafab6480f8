#!/bin/sh
# What clang-format does not see: length of functions, files and lines, conditional compilation in
# bodies, notes left behind. A line that says NOLINT (with a reason) is let through; for a function,
# the line of its opening name.
set -eu

find core hub agent bridge funcmgr runtime-embed tests -name '*.[ch]' ! -name '*.pb.[ch]' \
    2>/dev/null | sort | xargs awk -v MAX_FUNCTION=100 -v MAX_FILE=700 -v MAX_LINE=90 '
function fail(line, why) {
    printf "%s:%d: %s\n", FILENAME, line, why
    bad = 1
}

function close_file(    most) {
    most = last_file ~ /^tests\// ? 2 * MAX_FILE : MAX_FILE
    if (last_file != "" && last_line > most) {
        printf "%s: %d lines, at most %d\n", last_file, last_line, most
        bad = 1
    }
}

FNR == 1 {
    close_file()
    last_file = FILENAME
    start = 0
    excused = 0
}

{
    last_line = FNR
}

length($0) > MAX_LINE && !/NOLINT/ { fail(FNR, length($0) " columns, at most " MAX_LINE) }
/[ \t]$/ { fail(FNR, "trailing blanks") }
/\t/ { fail(FNR, "a tab") }
/(TODO|FIXME|(^|[^X])XXX)[^X-]/ && !/NOLINT/ { fail(FNR, "a note left behind") }
FILENAME ~ /^(core|hub|agent|bridge|funcmgr)\/.*\.c$/ && /^[ \t]*#[ \t]*(if|ifdef|ifndef)/ && !/NOLINT/ {
    fail(FNR, "conditional compilation in a .c file: make a file pair")
}

# K&R-Linux braces: only a function opens and closes in the first column.
/^{/ {
    start = FNR
    excused = previous ~ /NOLINT/
}
/^}/ && start {
    if (FNR - start - 1 > MAX_FUNCTION && !excused)
        fail(start, "a function of " FNR - start - 1 " lines, at most " MAX_FUNCTION)
    start = 0
}
/NOLINT/ { previous = $0; next }
!/^[ \t]/ && !/^{/ { previous = $0 }

END {
    close_file()
    exit bad
}
' /dev/null
