#!/usr/bin/env bash
# What curl and openssl, neither of them ours, see of the hub's transport.
#
#   tools/with-hub.py tools/tls.sh
set -euo pipefail

: "${HUB_URL:?run through tools/with-hub.py}"
address=${HUB_URL#https://}

curl --silent --show-error --fail --cacert "$HUB_CA" --tlsv1.3 "$HUB_URL/healthz" >/dev/null
echo "ok: TLS 1.3 with the development authority"
if curl --silent --cacert "$HUB_CA" --tls-max 1.2 "$HUB_URL/healthz" >/dev/null 2>&1; then
    echo "TLS 1.2 was accepted" && exit 1
fi
echo "ok: TLS 1.2 is refused"
if curl --silent "$HUB_URL/healthz" >/dev/null 2>&1; then
    echo "the hub's authority is trusted by this machine" && exit 1
fi
echo "ok: who does not know the authority does not connect"
curl --silent --cacert "$HUB_CA" --head "$HUB_URL/healthz" | grep -qi '^strict-transport-security: max-age='
echo "ok: HSTS"
chain=$(openssl s_client -connect "$address" -CAfile "$HUB_CA" -verify_return_error -tls1_3 </dev/null 2>&1)
grep -q 'Verify return code: 0 (ok)' <<<"$chain"
echo "ok: openssl verifies the chain"
status=$(curl --silent --cacert "$HUB_CA" --output /dev/null --write-out '%{http_code}' "$HUB_URL/v1/products")
[ "$status" = 401 ] || { echo "no credentials: $status"; exit 1; }
echo "ok: no credentials, no answer"
