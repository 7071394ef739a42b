#!/usr/bin/env bash
# Prints accuracy against epsilon as a table: digits at 5 and 20 sites, breast cancer, heart disease, the median over twenty noise seeds each.
# The heart-disease rows need UCI's processed files in the folder named by CONSORT_HEART_DATA.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --quiet --workspace --lib demo::seeds_utility::accuracy_against_epsilon -- --ignored --nocapture | grep -E '^\||^not run'
