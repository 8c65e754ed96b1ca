#!/usr/bin/env bash
# Fuzzes the HTTP API after its own OpenAPI document: once as an organization's administrator, once with no credentials.
#
#   tools/with-hub.py tools/schemathesis.sh [EXAMPLES]
#
# What is checked: no 5xx, answers as described (status, media type, headers, body), unknown methods refused, what the
# description forbids refused, and nothing reached without credentials that the description protects.
set -euo pipefail

: "${HUB_URL:?run through tools/with-hub.py}"
examples=${1:-12}
common=(
    run "$HUB_URL/openapi.json"
    --tls-verify "$HUB_CA"
    --checks all
    --phases examples,coverage,fuzzing
    --max-examples "$examples"
    --generation-deterministic
    --generation-database none
    --request-timeout 30
    --continue-on-failure
    --suppress-health-check all
    --no-color
)
echo "as nobody"
schemathesis "${common[@]}" --max-examples 3
echo "as acme's administrator"
schemathesis "${common[@]}" -H "Authorization: Bearer $HUB_KEY_ACME_DESK"
