//! OAuth 2: client credentials for short-lived tokens (RFC 6749), and what clients need to know (RFC 8414, RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tradelane_hub::{HubError, Result};
use tradelane_model::codes;
use zeroize::Zeroizing;

use super::shapes::Metadata;
use crate::api::{operation, reference};
use crate::door::{PublicAsk, Route, public};
use crate::params::Params;
use crate::problem::Dialect;
use crate::reply::Reply;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let form = json!({
        "type": "object", "required": ["grant_type", "scope"],
        "properties": {
            "grant_type": { "type": "string", "const": "client_credentials" },
            "scope": { "type": "string", "description": "`read:PRODUCT`, `publish:PRODUCT`, `manage`, `audit`; `*` for every product." },
            "client_id": { "type": "string" },
            "client_secret": { "type": "string" },
        }
    });
    let token_of = operation("issueToken", "Credentials", "A short-lived access token for a client's credentials")
        .about("Authenticate with HTTP Basic, or with client_id and client_secret in the form; not with both.")
        .body("application/x-www-form-urlencoded", form)
        .answer(200, "The token.", "application/json", reference("TokenBody"))
        .refuses(401, "The client is unknown or its secret is wrong.");
    routes.push(public(Method::POST, "/oauth/token", token_of, token).speaks(Dialect::OAuth));
    let keys = operation("jwks", "Credentials", "The public keys of access tokens (RFC 7517)").answer(
        200,
        "A JWK set.",
        "application/json",
        json!({ "type": "object", "required": ["keys"] }),
    );
    routes.push(public(Method::GET, "/.well-known/jwks.json", keys, jwks));
    let known = operation("oauthMetadata", "Credentials", "Where and how to get tokens (RFC 8414)").answer(
        200,
        "The metadata.",
        "application/json",
        reference("Metadata"),
    );
    routes.push(public(Method::GET, "/.well-known/oauth-authorization-server", known, metadata));
}

async fn token(ask: PublicAsk) -> Result<Reply> {
    let malformed = |what: &str| HubError::new(codes::OAUTH_INVALID_REQUEST, what);
    ask.no_query().map_err(|_| malformed("The parameters belong into the body, not into the query."))?;
    let media = ask.media_type().map_err(|_| malformed("The body must be application/x-www-form-urlencoded."))?;
    if media.essence != "application/x-www-form-urlencoded" {
        return Err(malformed("The body must be application/x-www-form-urlencoded."));
    }
    let body = std::str::from_utf8(&ask.body).map_err(|_| malformed("The body is not UTF-8."))?;
    let form = |error: HubError| HubError { code: codes::OAUTH_INVALID_REQUEST, ..error };
    let mut params = Params::parse(body).map_err(form)?;
    let grant_type = params.take("grant_type").map_err(form)?;
    if grant_type.as_deref() != Some("client_credentials") {
        return Err(malformed("grant_type must be client_credentials."));
    }
    let scope = params.take("scope").map_err(form)?.unwrap_or_default();
    let id = params.take("client_id").map_err(form)?;
    let secret = params.take("client_secret").map_err(form)?.map(Zeroizing::new);
    let (id, secret) = client(&ask, id, secret)?;
    let verdict = ask.shared.refusals.peek(&ask.from.peer, ask.shared.elapsed());
    if !verdict.allowed {
        return Err(HubError::of(codes::RATE_LIMITED).retry(verdict.reset.max(1)));
    }
    let issued = ask.shared.hub.issue_token(&id, &secret, &scope).await.inspect_err(|_| {
        ask.shared.refusals.take(&ask.from.peer, ask.shared.elapsed());
    })?;
    Ok(Reply::json(StatusCode::OK, issued.value()).header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// The client, named in exactly one of the two ways (RFC 6749, 2.3).
fn client(
    ask: &PublicAsk,
    id: Option<String>,
    secret: Option<Zeroizing<String>>,
) -> Result<(String, Zeroizing<String>)> {
    let refused = || HubError::of(codes::OAUTH_INVALID_CLIENT);
    let mut basic = ask.headers.get_all(AUTHORIZATION).iter();
    match (basic.next(), basic.next(), secret) {
        (Some(value), None, None) => {
            let (named, secret) = value.to_str().ok().and_then(basic_credentials).ok_or_else(refused)?;
            // A client_id beside Basic is allowed if it says the same.
            if id.is_some_and(|id| id != named) {
                return Err(refused());
            }
            Ok((named, secret))
        }
        (None, _, Some(secret)) => Ok((id.ok_or_else(refused)?, secret)),
        (None, _, None) => Err(refused()),
        _ => {
            Err(HubError::new(codes::OAUTH_INVALID_REQUEST, "The client must authenticate in one way, not in several."))
        }
    }
}

/// `Basic base64(id:secret)`, each form-encoded.
fn basic_credentials(value: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let plain = std::str::from_utf8(&plain).ok()?;
    let (id, secret) = plain.split_once(':')?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    Some((decode(id)?, Zeroizing::new(decode(secret)?)))
}

async fn jwks(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    let fresh = HeaderValue::from_static("public, max-age=300");
    Ok(Reply::of(StatusCode::OK, "application/json", ask.shared.hub.jwks()).header(CACHE_CONTROL, fresh))
}

async fn metadata(ask: PublicAsk) -> Result<Reply> {
    ask.no_query()?;
    let issuer = ask.shared.hub.issuer();
    let base = issuer.trim_end_matches('/');
    let metadata = Metadata {
        issuer,
        token_endpoint: format!("{base}/oauth/token"),
        jwks_uri: format!("{base}/.well-known/jwks.json"),
        grant_types_supported: ["client_credentials"],
        response_types_supported: [],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
        scopes_supported: ["read:*", "publish:*", "manage", "audit"],
        service_documentation: format!("{base}/docs"),
    };
    Ok(Reply::json(StatusCode::OK, &metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_read_as_oauth_writes_them() {
        let encoded = STANDARD.encode("a%3Ab:tls_x_y");
        let (id, secret) = basic_credentials(&format!("Basic {encoded}")).unwrap();
        assert_eq!((id.as_str(), secret.as_str()), ("a:b", "tls_x_y"));
        for bad in ["Basic", "Basic !", "Bearer YTpi", "Basic YQ=="] {
            assert!(basic_credentials(bad).is_none(), "{bad}");
        }
    }
}
