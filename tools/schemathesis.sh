#!/usr/bin/env bash
# Fuzzes the HTTP API after its own OpenAPI document, as an organization's administrator.
#
#   tools/with-hub.py tools/schemathesis.sh [EXAMPLES]
#
# What is checked: no 5xx, answers as described (status, media type, headers, body), unknown methods refused, what the
# description forbids refused, and nothing reached without credentials or with wrong ones that the description protects.
set -euo pipefail

: "${HUB_URL:?run through tools/with-hub.py}"

# - What a description cannot say (page tokens are the server's own, YAML must mean something, a grant must exist) may be
#   refused although it has the described form.
# - OPTIONS of EPCIS paths tell versions whatever the path's parts are.
# - Two credentials in one request are refused by design, so the one that is given here is the only one.
# - A request that is refused before its body was read costs the connection, which a client that kept it alive notices late.
exec schemathesis --config-file "$(dirname "$0")/schemathesis.toml" run "$HUB_URL/openapi.json" \
    --header "Authorization: Bearer $HUB_KEY_ACME_DESK" \
    --tls-verify "$HUB_CA" \
    --exclude-method OPTIONS \
    --generation-with-security-parameters false \
    --phases examples,coverage,fuzzing \
    --max-examples "${1:-12}" \
    --generation-deterministic \
    --request-timeout 30 \
    --request-retries 2 \
    --continue-on-failure \
    --suppress-health-check all \
    --no-color
