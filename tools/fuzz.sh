#!/usr/bin/env bash
# Runs every fuzz target for a short while, from its checked-in seeds. Needs cargo-fuzz and a nightly toolchain.
#
#   tools/fuzz.sh [SECONDS PER TARGET]
#
# A finding fails, and stays in fuzz/artifacts/<target> with the command that repeats it in the output.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-20}
mapfile -t targets < <(cargo +nightly fuzz list)
[ "${#targets[@]}" -gt 0 ]
cargo +nightly fuzz build

one() {
    local target=$1 corpus log
    corpus=$(mktemp -d)
    log=$(mktemp)
    [ ! -d "fuzz/seeds/$target" ] || cp -r "fuzz/seeds/$target/." "$corpus/"
    if cargo +nightly fuzz run "$target" "$corpus" -- -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        echo "fuzz $target: $(awk '/number_of_executed_units/ { print $2 }' "$log") runs in ${seconds} s, $(ls "$corpus" | wc -l) inputs, no finding"
        rm -rf "$corpus" "$log"
    else
        echo "fuzz $target: FAILED"
        tail -60 "$log"
        return 1
    fi
}

# Two at a time: one on each core of the smallest machine that this runs on.
failed=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    one "${targets[at]}" &
    first=$!
    if [ $((at + 1)) -lt "${#targets[@]}" ]; then
        one "${targets[at + 1]}" || failed=1
    fi
    wait "$first" || failed=1
done
exit $failed
