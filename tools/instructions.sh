#!/usr/bin/env bash
# Instruction gates: what the hot paths cost, counted by callgrind, so that a shared machine's noise cannot hide a loss.
#
# Each program runs twice with different numbers of rounds; the difference is what the rounds cost, without start-up.
# Prints JSON; exits 1 if a figure is above its limit.
#
#   tools/instructions.sh [--build-only]
set -euo pipefail
cd "$(dirname "$0")/.."

FEWER=1000
MORE=3000
TARGET=${CARGO_TARGET_DIR:-target}
PROGRAMS=$TARGET/instructions

mkdir -p "$PROGRAMS"
cargo build --locked --quiet --release -p tradelane-tape --example parse_instructions
cargo build --locked --quiet --release -p tradelane-seal --features bench --example instructions
cp "$TARGET/release/examples/parse_instructions" "$PROGRAMS/tape"
cp "$TARGET/release/examples/instructions" "$PROGRAMS/seal"
[ "${1:-}" != --build-only ] || exit 0

count() { # PROGRAM ARGUMENT... -> instructions
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null | awk '/Collected/ { print $NF }'
}

per() { # DIVISOR FEWER MORE PROGRAM ARGUMENT... ; N in the arguments is the number of rounds
    local divisor=$1
    shift
    local low high
    low=$(count "${@//N/$FEWER}")
    high=$(count "${@//N/$MORE}")
    awk -v low="$low" -v high="$high" -v by="$divisor" 'BEGIN { if (low == "" || high == "") exit 1; printf "%.1f", (high - low) / by }'
}

bytes() { "$PROGRAMS/tape" "$1" | sed -E 's/.* ([0-9]+) bytes.*/\1/'; }

rounds=$((MORE - FEWER))
# One after the other in the background would share the two cores anyway; two at a time use both.
per "$rounds" "$PROGRAMS/seal" masked N >"$PROGRAMS/masked.count" &
first=$!
per "$rounds" "$PROGRAMS/seal" one N >"$PROGRAMS/one.count"
wait "$first"
per $(($(bytes $MORE) - $(bytes $FEWER))) "$PROGRAMS/tape" N >"$PROGRAMS/scan.count"

python3 - "$PROGRAMS" <<'PYTHON'
import json, pathlib, sys

folder = pathlib.Path(sys.argv[1])
gates = [
    # 779 when the compiler inlines the splice, 1,506 when it does not: the aim is 1,000 whatever it decides.
    ("masked_view_1kib", "masked", "instructions per event", 2000),
    ("one_class_revealed_1kib", "one", "instructions per event", 3000),
    ("scan", "scan", "instructions per byte", 18),
]
results = []
for name, file, unit, limit in gates:
    found = float((folder / f"{file}.count").read_text())
    results.append({"name": name, "unit": unit, "found": found, "limit": limit, "ok": found <= limit})
print(json.dumps({"instructions": results}, indent=1))
sys.exit(0 if all(result["ok"] for result in results) else 1)
PYTHON
