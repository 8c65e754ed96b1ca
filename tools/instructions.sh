#!/usr/bin/env bash
# Instruction gates: what the hot paths cost, counted by callgrind, so that a shared machine's noise cannot hide a loss.
#
# Only what happens inside of a function named `measured` counts: start-up gathers entropy from timing jitter, and costs
# a different number of instructions each time.
# Prints JSON; exits 1 if a figure is above its limit.
#
#   tools/instructions.sh [--build-only]
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=1000
TARGET=${CARGO_TARGET_DIR:-target}
PROGRAMS=$TARGET/instructions

mkdir -p "$PROGRAMS"
cargo build --locked --quiet --release -p tradelane-tape --example parse_instructions
cargo build --locked --quiet --release -p tradelane-seal --features bench --example instructions
cp "$TARGET/release/examples/parse_instructions" "$PROGRAMS/tape"
cp "$TARGET/release/examples/instructions" "$PROGRAMS/seal"
[ "${1:-}" != --build-only ] || exit 0

count() { # PROGRAM ARGUMENT... -> instructions
    valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect='*measured*' \
        "$@" 2>&1 >/dev/null | awk '/Collected/ { print $NF }'
}

per() { # DIVISOR PROGRAM ARGUMENT...
    local divisor=$1
    shift
    awk -v count="$(count "$@")" -v by="$divisor" 'BEGIN { if (count + 0 == 0) exit 1; printf "%.1f", count / by }'
}

bytes() { "$PROGRAMS/tape" "$1" | sed -E 's/.* ([0-9]+) bytes.*/\1/'; }

# One after the other in the background would share the two cores anyway; two at a time use both.
per "$ROUNDS" "$PROGRAMS/seal" masked "$ROUNDS" >"$PROGRAMS/masked.count" &
first=$!
per "$ROUNDS" "$PROGRAMS/seal" one "$ROUNDS" >"$PROGRAMS/one.count"
wait "$first"
per "$ROUNDS" "$PROGRAMS/seal" pseudonyms "$ROUNDS" >"$PROGRAMS/pseudonyms.count"
per "$ROUNDS" "$PROGRAMS/seal" governed "$ROUNDS" >"$PROGRAMS/governed.count" &
first=$!
per "$(bytes "$ROUNDS")" "$PROGRAMS/tape" "$ROUNDS" >"$PROGRAMS/scan.count"
wait "$first"

python3 - "$PROGRAMS" <<'PYTHON'
import json, pathlib, sys

folder = pathlib.Path(sys.argv[1])
gates = [
    ("masked_view_1kib", "masked", "instructions per event", 1000),
    ("one_class_revealed_1kib", "one", "instructions per event", 3000),
    ("pseudonyms_warm_1kib", "pseudonyms", "instructions per event", 1500),
    ("parse_validate_locate_seal_1kib", "governed", "instructions per event", 36200),
    ("scan", "scan", "instructions per byte", 15.5),
]
results = []
for name, file, unit, limit in gates:
    found = float((folder / f"{file}.count").read_text())
    results.append({"name": name, "unit": unit, "found": found, "limit": limit, "ok": found <= limit})
print(json.dumps({"instructions": results}, indent=1))
sys.exit(0 if all(result["ok"] for result in results) else 1)
PYTHON
