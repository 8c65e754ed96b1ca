#!/usr/bin/env bash
# Lints every data contract in examples/ with datacontract-cli, which knows nothing of Tradelane.
set -euo pipefail
cd "$(dirname "$0")/.."

find examples -name '*.odcs.yaml' -print0 | sort -z | while IFS= read -r -d '' contract; do
    echo "$contract"
    datacontract lint "$contract" >"${TMPDIR:-/tmp}/contract.$$" 2>&1 || { cat "${TMPDIR:-/tmp}/contract.$$"; exit 1; }
    tail -1 "${TMPDIR:-/tmp}/contract.$$"
    rm -f "${TMPDIR:-/tmp}/contract.$$"
done
