#!/bin/sh
# Makes tests/core/tls_certs.h: the certificates of the unit tests, for the years 2026 to 2126 (the
# tests stop the clock in 2050). Run it again only to change them; the keys guard nothing.
set -eu

out=$(cd "$(dirname "$0")" && pwd)/tls_certs.h
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >ca.cnf <<'EOF'
[ca]
default_ca = it
[it]
database = index
new_certs_dir = .
serial = serial
crlnumber = crlnumber
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
default_crl_days = 36500
[any]
commonName = supplied
organizationName = optional
EOF
: >index
echo 1000 >serial
echo 01 >crlnumber
from=20260101000000Z until=21260101000000Z

key()
{
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null
}

# root NAME: a CA of its own.
root()
{
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf 'basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n' >ext
    openssl ca -batch -notext -config ca.cnf -selfsign -keyfile "$1.key" -in "$1.csr" -out "$1.pem" \
        -startdate $from -enddate $until -extfile ext 2>/dev/null
}

# leaf NAME SUBJECT FROM UNTIL [SAN]
leaf()
{
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    printf 'basicConstraints=CA:false\n%s\n' "${5:-}" >ext
    openssl ca -batch -notext -config ca.cnf -cert ca.pem -keyfile ca.key -in "$1.csr" -out "$1.pem" \
        -startdate "$3" -enddate "$4" -extfile ext 2>/dev/null
}

root ca
root other
leaf server /CN=server $from $until subjectAltName=DNS:hub.test,DNS:*.wild.test,IP:127.0.0.1
leaf client "/O=plant 7/CN=pump-1" $from $until
leaf expired /CN=old $from 20260601000000Z
leaf revoked /CN=gone $from $until
leaf future /CN=early 20600101000000Z $until
openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -revoke revoked.pem 2>/dev/null
openssl ca -config ca.cnf -cert ca.pem -keyfile ca.key -gencrl -crl_lastupdate $from \
    -crl_nextupdate $until -out crl.pem 2>/dev/null
{
    echo '/* Certificates of the unit tests, made by tests/core/tls_certs.sh. */'
    echo '#ifndef TESTS_CORE_TLS_CERTS_H'
    echo '#define TESTS_CORE_TLS_CERTS_H'
    echo
    echo '/* clang-format off */'
    for file in ca.pem other.pem server.pem server.key client.pem client.key expired.pem expired.key \
        revoked.pem revoked.key future.pem future.key crl.pem; do
        echo "static const char $(echo "pem_$file" | sed 's/\.pem$//; s/\./_/')[] ="
        sed 's/.*/    "&\\n"/; $s/$/;/' "$file"
    done
    echo '/* clang-format on */'
    echo
    echo '#endif'
} >"$out"
