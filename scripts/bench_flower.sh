#!/usr/bin/env bash
# Measures this project's masked sums and Flower's SecAgg+ on the same vectors in one run, CPU time on one core, and prints the ratio.
#   scripts/bench_flower.sh [--n 10,50,100] [--d 1000000] [--full] [--json]      --full adds n=100, d=10^7: tens of minutes for the peer
# Needs Python 3.10 or newer and a package index that has flwr.
set -euo pipefail
cd "$(dirname "$0")/.."

FLWR=1.41.0
venv=target/flower-$FLWR
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import flwr' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "flwr==$FLWR"
fi
cargo build --release -p consort-benches
FLWR_TELEMETRY_ENABLED=0 taskset -c 0 "$venv/bin/python" scripts/bench_flower.py --bench target/release/consort-bench "$@"
