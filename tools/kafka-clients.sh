#!/usr/bin/env bash
# The Kafka clients that people have, each as producer and consumer, against a hub: installs what is pinned, runs all, prints a table.
#
#   tools/kafka-clients.sh [TRADELANE [ARGUMENT OF matrix.py...]]
#
# Needs Python, Node, a JDK, Kafka's jars (KAFKA_FOR_TESTS, from `tools/kafka/kafka.py fetch`) and kcat. What is missing is skipped,
# loudly; with TRADELANE_REQUIRE_SERVERS=1 it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
TRADELANE=${1:-target/debug/tradelane}
WORK=${TRADELANE_CI_DIR:-target}/kafka-clients
HERE=tests/clients/kafka

install() {
    local wanted
    wanted=$(cat "$HERE/requirements.txt" "$HERE/node/package-lock.json" | sha256sum)
    [ -d "$HERE/node/node_modules" ] && [ "$(cat "$WORK/installed" 2>/dev/null)" = "$wanted" ] && return
    [ -x "$WORK/venv/bin/python" ] || python3 -m venv "$WORK/venv"
    "$WORK/venv/bin/pip" install --quiet --disable-pip-version-check --retries 10 -r "$HERE/requirements.txt"
    (cd "$HERE/node" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    echo "$wanted" >"$WORK/installed"
}

mkdir -p "$WORK"
install
[ "${1:-}" = --install ] && exit
exec "$WORK/venv/bin/python" "$HERE/matrix.py" --tradelane "$TRADELANE" "${@:2}"
