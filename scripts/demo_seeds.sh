#!/usr/bin/env bash
# Prints the accuracy of the demo's jobs, that of fedavg included: the median over twenty noise seeds, the range, and the value without noise.
# The heart-disease figures need UCI's processed files in the folder named by CONSORT_HEART_DATA.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --quiet --workspace --lib demo::seeds -- --nocapture --test-threads=1 | grep -E 'sites, |^not run'
