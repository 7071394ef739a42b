#!/usr/bin/env bash
# Measures this project's private and plain steps, PyTorch's plain ones and Opacus' private ones on two threads in one run, and prints the ratios.
#   scripts/bench_opacus.sh [--models mlp tabular] [--batches 256 1024] [--json]
# Needs Python 3.10 or newer, a package index that has torch and opacus, and some gigabytes for them.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/opacus
if ! "$venv/bin/python" -c 'import opacus' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch opacus
fi
cargo build --release -p consort-benches
"$venv/bin/python" scripts/bench_opacus.py --bench target/release/consort-bench-training "$@"
