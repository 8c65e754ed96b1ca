#!/usr/bin/env bash
# Supply chain: known vulnerabilities, licences, banned crates, sources. Needs cargo-deny.
#
# Advisories come from the live database where it can be reached, else from the dated copy in tools/advisories.
set -euo pipefail
cd "$(dirname "$0")/.."

COPY_OF=2026-08-21
OUT=${TRADELANE_CI_DIR:-target/ci}
mkdir -p "$OUT"

cargo fetch --locked --quiet

if timeout 120 cargo deny check --hide-inclusion-graph advisories >"$OUT/advisories.log" 2>&1; then
    tail -1 "$OUT/advisories.log"
    echo "advisories: checked against the live database"
elif grep -qE 'failed to fetch advisory database|failed to clone|unable to access' "$OUT/advisories.log" || [ ! -s "$OUT/advisories.log" ]; then
    echo "************************************************************************************"
    echo "THE LIVE ADVISORY DATABASE CANNOT BE REACHED: CHECKING AGAINST THE COPY OF $COPY_OF."
    echo "Advisories published since then are not seen. See tools/advisories/README.md."
    echo "************************************************************************************"
    # The directory that cargo-deny derives from the database's public address.
    database="$OUT/advisory-dbs/advisory-db-3157b0e258782691"
    rm -rf "$database"
    mkdir -p "$database/.git"
    tar -xJf tools/advisories/advisory-db.tar.xz -C "$database"
    touch -d "$COPY_OF" "$database/.git/FETCH_HEAD"
    sed "s|^\[advisories\]|[advisories]\ndb-path = \"$(realpath "$OUT")/advisory-dbs\"|" deny.toml >"$OUT/deny-offline.toml"
    cargo deny --offline --config "$OUT/deny-offline.toml" check --hide-inclusion-graph advisories
else
    cat "$OUT/advisories.log"
    exit 1
fi

cargo deny --offline check bans licenses sources
