#!/usr/bin/env bash
# The key broker against AWS KMS, as moto (PyPI) speaks it, over TLS: keys made, wrapped, moved, refused. --optional: without Python's
# venv, openssl or a package index this says so and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
optional=${1:-}
skip() {
    echo "AWS KMS skipped: $1"
    [ "$optional" = --optional ] && exit 0
    exit 1
}

command -v openssl >/dev/null || skip 'openssl is not here'
work=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
python3 -m venv "$work/venv" 2>/dev/null || skip 'python3 has no venv'
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'moto[kms,server]>=5.1,<6' || skip 'moto cannot be installed'

# An authority of its own, and a certificate for localhost under it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj '/CN=authority of a test' \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' \
    -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
printf 'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n' >"$work/extensions"
openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
    -extfile "$work/extensions" -out "$work/server.pem" 2>/dev/null

export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing AWS_DEFAULT_REGION=eu-central-1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$work/venv/bin/moto_server" -H 127.0.0.1 -p "$port" -c "$work/server.pem" -k "$work/server.key" >"$work/moto.log" 2>&1 &
server=$!
export CONSORT_KMS_ENDPOINT="https://localhost:$port" CONSORT_KMS_CA="$work/ca.pem"
keys=$("$work/venv/bin/python" - <<'PYTHON'
import os, time
import boto3

kms = boto3.client("kms", endpoint_url=os.environ["CONSORT_KMS_ENDPOINT"], verify=os.environ["CONSORT_KMS_CA"])
for attempt in range(100):
    try:
        print(*(kms.create_key(Description="a test's")["KeyMetadata"]["KeyId"] for _ in range(2)))
        break
    except Exception as error:
        if attempt == 99:
            raise SystemExit(f"moto does not answer: {error}")
        time.sleep(0.1)
PYTHON
) || { cat "$work/moto.log"; exit 1; }
read -r CONSORT_KMS_KEY CONSORT_KMS_OTHER_KEY <<<"$keys"
export CONSORT_KMS_KEY CONSORT_KMS_OTHER_KEY
cargo test --workspace --lib -- --ignored kms::
