#!/usr/bin/env bash
# librdkafka's own integration tests against a hub, on both engines, and in front of a cluster with groups of KIP-848 as well: those that
# are known to pass have to.
#
#   tools/librdkafka-tests.sh --build
#   tools/librdkafka-tests.sh [TRADELANE [ARGUMENT OF librdkafka/run.py...]]
#
# Needs gcc and g++, make, OpenSSL's and zlib's headers, npm, and Kafka's jars (KAFKA_FOR_TESTS, from `tools/kafka/kafka.py fetch`). It builds
# for a minute or two the first time. `--quick` leaves the slow ones out, `--all` runs those that are not known to pass too.
set -euo pipefail
cd "$(dirname "$0")/.."
RUN=tests/clients/kafka/librdkafka/run.py
[ "${1:-}" = --build ] && exec python3 "$RUN" --build-only
for way in "--engine embedded" "--engine kafka" "--engine kafka --protocol consumer"; do
    # shellcheck disable=SC2086
    python3 "$RUN" --tradelane "${1:-target/debug/tradelane}" $way "${@:2}"
done
