//! API keys, client secrets and client certificates.

use http::{Method, StatusCode};
use serde_json::json;
use tradelane_hub::{Audited, NewCertificate, NewCredential, Result};
use tradelane_model::{CredentialId, PrincipalId};

use super::shapes::{IssuedBody, NewCertificateBody, NewCredentialBody, RegisteredBody};
use crate::api::{operation, reference};
use crate::door::{Ask, Route, governed};
use crate::params::wrong;
use crate::reply::Reply;

pub(super) fn routes(routes: &mut Vec<Route>) {
    let issue_it = operation("issueCredential", "Credentials", "Issue an API key or a client secret, or rotate one")
        .about("The secret is shown this once. With `replaces`, the old credential ends after the overlap.")
        .body_like(
            "application/json",
            reference("NewCredentialBody"),
            json!({ "kind": "api-key", "lifetimeSeconds": 2_592_000 }),
        )
        .answer(201, "The credential.", "application/json", reference("IssuedBody"))
        .refuses(409, "The replaced credential is not one that works.")
        .refuses(422, "The credential cannot be issued like this.");
    routes.push(governed(Method::POST, "/v1/principals/{principal}/credentials", issue_it, issue));
    let register_it = operation(
        "registerCertificate",
        "Credentials",
        "Register a client certificate, by which Kafka clients are known without a password",
    )
    .about("Whoever proves in the TLS handshake to hold its key is this principal; who signed it does not matter.")
    .body_like(
        "application/json",
        reference("NewCertificateBody"),
        json!({ "sha256": "7d".repeat(32), "lifetimeSeconds": 2_592_000 }),
    )
    .answer(201, "It is registered.", "application/json", reference("RegisteredBody"))
    .refuses(409, "The certificate is or was registered.")
    .refuses(422, "The certificate cannot be registered like this.");
    routes.push(governed(Method::POST, "/v1/principals/{principal}/certificates", register_it, register));
    let list_them = operation(
        "listCredentials",
        "Credentials",
        "Your organization's credentials, without their secrets",
    )
    .answer(200, "By id.", "application/json", reference("CredentialList"));
    routes.push(governed(Method::GET, "/v1/credentials", list_them, list));
    let revoke_it = operation("revokeCredential", "Credentials", "Revoke a credential; what it opened stops at once")
        .done(204, "Revoked.");
    routes.push(governed(Method::DELETE, "/v1/credentials/{credential}", revoke_it, revoke));
}

async fn issue(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: NewCredentialBody = ask.json()?;
    let replaces = body.replaces.map(|id| id.parse()).transpose();
    let new = NewCredential {
        principal: ask.id::<PrincipalId>("principal")?,
        kind: body.kind,
        lifetime_seconds: body.lifetime_seconds,
        replaces: replaces.map_err(|_| wrong("replaces", "a credential id"))?,
        overlap_seconds: body.overlap_seconds,
    };
    let issued = ask.hub().issue_credential(&ask.caller, new).await?;
    Ok(issued.map(|issued| {
        let body =
            IssuedBody { id: issued.id.as_str(), secret: issued.text.expose(), expires: issued.expires.to_string() };
        Reply::json(StatusCode::CREATED, &body).location(&format!("/v1/credentials/{}", issued.id))
    }))
}

async fn register(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let body: NewCertificateBody = ask.json()?;
    let new = NewCertificate {
        principal: ask.id::<PrincipalId>("principal")?,
        digest: digest(&body.sha256).ok_or_else(|| wrong("sha256", "64 hexadecimal digits"))?,
        lifetime_seconds: body.lifetime_seconds,
    };
    let registered = ask.hub().register_certificate(&ask.caller, new).await?;
    Ok(registered.map(|id| {
        Reply::json(StatusCode::CREATED, &RegisteredBody { id: id.as_str() }).location(&format!("/v1/credentials/{id}"))
    }))
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

async fn list(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let credentials = ask.hub().credentials(&ask.caller).await?;
    Ok(credentials.map(|credentials| Reply::json(StatusCode::OK, &json!({ "credentials": credentials }))))
}

async fn revoke(ask: Ask) -> Result<Audited<Reply>> {
    ask.no_query()?;
    let revoked = ask.hub().revoke_credential(&ask.caller, &ask.id::<CredentialId>("credential")?).await?;
    Ok(revoked.map(|()| Reply::new(StatusCode::NO_CONTENT)))
}
