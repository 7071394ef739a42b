#!/usr/bin/env bash
# Fuzzes every decoder of outside bytes for SECONDS each (60 unless told) and fails when one panics, hangs or takes too much memory.
#   scripts/fuzz.sh [seconds [decoder...]]
# What breaks a decoder lies in fuzz/findings; add it to decoders/corpus/<decoder>, where an ordinary test replays it. Inputs that
# reached new code stay in fuzz/target/corpus for the next run. Needs a C++ compiler for libFuzzer; no nightly compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true

# Coverage as libFuzzer reads it, without a sanitizer: stable compilers have none, and the workspace has next to no unsafe code.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
# With a target named, build scripts and macros are compiled without the instrumentation, which they could not link.
host=$(rustc -vV | sed -n 's/^host: //p')
# shellcheck disable=SC2086
cargo build --release --manifest-path fuzz/Cargo.toml --target "$host" ${CONSORT_FUZZ_CARGO_ARGS:-}
program=fuzz/target/$host/release/decoder

decoders=("$@")
if [ ${#decoders[@]} = 0 ]; then
    for folder in decoders/corpus/*/; do decoders+=("$(basename "$folder")"); done
fi
mkdir -p fuzz/findings
failed=()
for decoder in "${decoders[@]}"; do
    mkdir -p "fuzz/target/corpus/$decoder"
    log=fuzz/target/corpus/$decoder.log
    # 512 MiB: the longest message is 4 MiB, and a fuzzer with its tables takes a few dozen.
    if CONSORT_DECODER=$decoder "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="fuzz/findings/$decoder-" \
        "fuzz/target/corpus/$decoder" "decoders/corpus/$decoder" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
        edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
        printf '%-20s %12s runs, %6s edges, peak %4s MiB\n' "$decoder" "$runs" "$edges" "$peak"
    else
        printf '%-20s FAILED, see %s\n' "$decoder" "$log"
        tail -n 20 "$log"
        failed+=("$decoder")
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
