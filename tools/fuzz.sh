#!/usr/bin/env bash
# Runs every fuzz target for a short while, from its checked-in seeds. Needs cargo-fuzz and a nightly toolchain.
#
#   tools/fuzz.sh [SECONDS PER TARGET]
#
# A finding fails, and stays in fuzz/artifacts/<target> with the command that repeats it in the output. The fuzzer's
# dice are seeded: what a change did decides, not chance. `FUZZ_SEED=0` throws others each time, to look for more.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
seed=${FUZZ_SEED:-1}
mapfile -t targets < <(cargo +nightly fuzz list)
[ "${#targets[@]}" -gt 0 ]
cargo +nightly fuzz build

failures=$(mktemp)

one() {
    local target=$1 corpus log
    corpus=$(mktemp -d)
    log=$(mktemp)
    [ ! -d "fuzz/seeds/$target" ] || cp -r "fuzz/seeds/$target/." "$corpus/"
    if cargo +nightly fuzz run "$target" "$corpus" -- -seed="$seed" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
        -print_final_stats=1 >"$log" 2>&1; then
        echo "fuzz $target: $(awk '/number_of_executed_units/ { print $2 }' "$log") runs in ${seconds} s, $(ls "$corpus" | wc -l) inputs, no finding"
    else
        echo "fuzz $target: FAILED"
        tail -60 "$log" | cut -c 1-1000
        # Once more at the very end, where it is seen: what it says of itself, and the input.
        {
            echo "fuzz $target: FAILED"
            grep -a -A 1 -e 'panicked at' -e 'ERROR: ' -e 'ALARM: ' -e '^Base64' "$log" | cut -c 1-600
        } >>"$failures"
    fi
    rm -rf "$corpus" "$log"
}

# Two at a time: one on each core of the smallest machine that this runs on.
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    one "${targets[at]}" &
    [ $((at + 1)) -ge "${#targets[@]}" ] || one "${targets[at + 1]}"
    wait
done
if [ -s "$failures" ]; then
    cat "$failures"
    exit 1
fi
