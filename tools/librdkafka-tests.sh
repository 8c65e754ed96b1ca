#!/usr/bin/env bash
# librdkafka's own integration tests against a hub, on both engines: those that are known to pass have to.
#
#   tools/librdkafka-tests.sh [TRADELANE [ARGUMENT OF librdkafka/run.py...]]
#
# Needs gcc, make, OpenSSL's and zlib's headers, npm, and Kafka's jars (KAFKA_FOR_TESTS, from `tools/kafka/kafka.py fetch`). It builds for
# some minutes the first time. `--all` runs the others too.
set -euo pipefail
cd "$(dirname "$0")/.."
for engine in embedded kafka; do
    python3 tests/clients/kafka/librdkafka/run.py --tradelane "${1:-target/debug/tradelane}" --engine $engine "${@:2}"
done
