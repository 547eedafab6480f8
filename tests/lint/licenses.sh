#!/bin/sh
# Every library of the manifest is in LICENSES.md with its version and licence, and nothing of
# upstream is in the tree.
set -eu

failed=0
rows=$(awk -F '\t' '!/^#/ && NF > 1 { print $1, $2, $7 }' third_party/manifest.tsv | sort -u)
while read -r name version spdx; do
    grep -q "| $name | $version | $spdx " third_party/LICENSES.md ||
        { echo "third_party/LICENSES.md: no row for $name $version $spdx" && failed=1; }
done <<EOF
$rows
EOF
extra=$(find third_party -type f | grep -v -x -e 'third_party/[A-Za-z_]*\.\(sh\|tsv\|mk\|md\|h\|c\)' || :)
[ -z "$extra" ] || { echo "does not belong in third_party: $extra" && failed=1; }
exit $failed
