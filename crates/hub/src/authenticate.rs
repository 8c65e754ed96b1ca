//! Who is this? API keys and access tokens become a [`Caller`], or nothing.
//!
//! No I/O: credentials are in the model, and a token that was verified is remembered by its digest. What a revoked,
//! expired or suspended party holds stops at once, because every call looks at the model as it is now.

use std::sync::Arc;

use serde::Serialize;
use tradelane_keys::{
    AccessClaims, Credential as Presentable, ScramError, ScramExchange, ScramFirst, ScramHash, ScramVerifier,
    SecretDigest, TokenError, TokenRequest,
};
use tradelane_model::organization::{Credential, CredentialKind};
use tradelane_model::{CredentialId, PrincipalId, Timestamp, codes};

use crate::Hub;
use crate::audit_trail::{ISSUE_TOKEN, hub_leaf};
use crate::doorway::{Audited, Caller};
use crate::error::{HubError, Result};

/// What API keys start with.
pub const API_KEY_PREFIX: &str = "tlk";
/// What client secrets start with.
pub const CLIENT_SECRET_PREFIX: &str = "tls";
/// Seconds that an access token lives.
pub const TOKEN_LIFETIME: i64 = 600;
/// The longest list of scopes in a token.
const MAX_SCOPES: usize = 64;

/// What a listener found in a request.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// `tlk_...`
    ApiKey(&'a str),
    /// A JWT access token (RFC 9068).
    AccessToken(&'a str),
    /// SHA-256 of a client certificate (DER) whose key the TLS handshake proved the client to hold.
    Certificate(&'a [u8; 32]),
}

/// A SCRAM exchange (RFC 5802) that waits for the client's proof that it has an API key.
#[derive(Debug)]
pub struct Proving {
    exchange: ScramExchange,
    credential: Option<CredentialId>,
}

/// An access token, as the token endpoint answers (RFC 6749, 5.1).
#[derive(Debug, Clone, Serialize)]
pub struct Token {
    /// The token.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    /// What it may be used for.
    pub scope: String,
}

impl Hub {
    /// The caller behind what was presented.
    pub fn authenticate(&self, presented: Presented<'_>) -> Result<Caller> {
        match presented {
            Presented::ApiKey(text) => self.by_api_key(text),
            Presented::AccessToken(text) => self.by_token(text),
            Presented::Certificate(digest) => self.by_certificate(digest),
        }
    }

    /// Begins a SCRAM exchange with the client's first message, in which the user is an API key's id. Returns what to
    /// send to the client. A key that does not exist gets as far as one that does.
    pub fn begin_proof(&self, hash: ScramHash, message: &[u8]) -> Result<(Proving, String)> {
        let first = ScramFirst::read(message).map_err(unproved)?;
        let model = self.model();
        let known = model.credentials.get(first.username()).filter(|c| c.kind == CredentialKind::ApiKey);
        let verifier = known.and_then(|credential| {
            let secrets = credential.scram.as_ref()?;
            let text = match hash {
                ScramHash::Sha256 => &secrets.sha256,
                ScramHash::Sha512 => &secrets.sha512,
            };
            ScramVerifier::from_text(hash, text)
        });
        let credential = verifier.is_some().then(|| known.map(|credential| credential.id.clone())).flatten();
        let seed = self.inner().dedup_key.mac_parts(&[b"scram mock\0", first.username().as_bytes()]);
        let (exchange, challenge) = first.challenge(verifier.unwrap_or_else(|| ScramVerifier::mock(hash, &seed)));
        Ok((Proving { exchange, credential }, challenge))
    }

    /// Ends it with the client's proof: the caller, and the hub's own proof for the client.
    pub fn finish_proof(&self, proving: Proving, message: &[u8]) -> Result<(Caller, String)> {
        let Proving { exchange, credential } = proving;
        let proof = exchange.finish(message).map_err(unproved)?;
        let id = credential.ok_or_else(unauthenticated)?;
        let credential = self.model().credentials.get(&id).cloned().ok_or_else(unauthenticated)?;
        if !credential.is_live(self.now()) {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        let caller = self.caller(&credential.principal, &credential, None, credential.expires)?;
        Ok((caller, proof))
    }

    fn by_certificate(&self, digest: &[u8; 32]) -> Result<Caller> {
        let hash = to_hex(digest);
        let model = self.model();
        let id = certificate_id(&hash);
        let stored = model.credentials.get(id).filter(|c| c.kind == CredentialKind::Certificate && c.hash == hash);
        let stored = stored.ok_or_else(unauthenticated)?;
        if !stored.is_live(self.now()) {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        self.caller(&stored.principal, stored, None, stored.expires)
    }

    fn by_api_key(&self, text: &str) -> Result<Caller> {
        let presented = Presentable::parse(API_KEY_PREFIX, text).ok_or_else(unauthenticated)?;
        let credential = self.credential_for(&presented, CredentialKind::ApiKey)?;
        self.caller(&credential.principal, &credential, None, credential.expires)
    }

    /// The live credential whose secret this is. Unknown, wrong and expired look the same to the caller.
    fn credential_for(&self, presented: &Presentable, kind: CredentialKind) -> Result<Arc<Credential>> {
        let model = self.model();
        let stored = model.credentials.get(presented.id()).filter(|c| c.kind == kind).ok_or_else(unauthenticated)?;
        let digest = parse_hex(&stored.hash).map(SecretDigest::from_bytes).ok_or_else(unauthenticated)?;
        if !digest.matches(presented) {
            return Err(unauthenticated());
        }
        if !stored.is_live(self.now()) {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        Ok(stored.clone())
    }

    fn caller(
        &self,
        principal: &PrincipalId,
        credential: &Credential,
        scopes: Option<Arc<[String]>>,
        until: Timestamp,
    ) -> Result<Caller> {
        let model = self.model();
        let active = model.active_principal(principal).ok_or_else(|| HubError::of(codes::CREDENTIALS_EXPIRED))?;
        let (principal, organization) = (active.0.clone(), active.1.clone());
        Ok(Caller { principal, organization, credential: credential.id.clone(), scopes, until })
    }

    fn by_token(&self, text: &str) -> Result<Caller> {
        let digest = tradelane_keys::sha256(text.as_bytes());
        let now = self.now();
        let claims = match self.inner().tokens_seen.get(&digest) {
            Some(claims) => claims,
            None => {
                let verified = self.inner().token_verifier.verify(text, now.seconds()).map_err(refused)?;
                let claims = Arc::new(verified);
                self.inner().tokens_seen.insert(digest, claims.clone());
                claims
            }
        };
        self.by_claims(&claims, now)
    }

    /// A token works while its own time, its client's credential and its principal all do.
    fn by_claims(&self, claims: &AccessClaims, now: Timestamp) -> Result<Caller> {
        let until = Timestamp(claims.exp.saturating_mul(1_000_000));
        if now >= until.plus_seconds(self.inner().clock_tolerance) {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        let id: CredentialId = claims.client_id.parse().map_err(|_| unauthenticated())?;
        let credential = self.model().credentials.get(&id).cloned().ok_or_else(unauthenticated)?;
        if !credential.is_live(now) || credential.principal.as_str() != claims.sub {
            return Err(HubError::of(codes::CREDENTIALS_EXPIRED));
        }
        let scopes: Arc<[String]> = claims.scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        self.caller(&credential.principal, &credential, Some(scopes), until.min(credential.expires))
    }

    /// OAuth 2 client credentials (RFC 6749, 4.4) for a short-lived token.
    ///
    /// `client_id` is the credential's id; `scope` is a list of `read:PRODUCT`, `publish:PRODUCT`, `manage`, with `*`
    /// for every product. Scopes narrow what the principal may do and never widen it.
    pub async fn issue_token(&self, client_id: &str, client_secret: &str, scope: &str) -> Result<Audited<Token>> {
        let invalid = || HubError::of(codes::OAUTH_INVALID_CLIENT);
        let presented = Presentable::parse(CLIENT_SECRET_PREFIX, client_secret).ok_or_else(invalid)?;
        if presented.id() != client_id {
            return Err(invalid());
        }
        let credential = self.credential_for(&presented, CredentialKind::ClientSecret).map_err(|_| invalid())?;
        let caller =
            self.caller(&credential.principal, &credential, None, credential.expires).map_err(|_| invalid())?;
        let scope = checked_scope(scope)?;
        let mut leaf = hub_leaf(self.now(), &caller, ISSUE_TOKEN);
        leaf.count = 1;
        let recorded = self.record(leaf).await?;
        let request = TokenRequest {
            subject: caller.principal.id.as_str(),
            client_id,
            organization: caller.organization.id.as_str(),
            scope: &scope,
            lifetime: TOKEN_LIFETIME,
        };
        let (access_token, _) = self.inner().token_issuer.mint(&request, self.now().seconds());
        let token = Token { access_token, token_type: "Bearer", expires_in: TOKEN_LIFETIME, scope };
        Ok(Audited { value: token, leaf: recorded })
    }

    /// The public keys of the hub's tokens (RFC 7517).
    pub fn jwks(&self) -> String {
        self.inner().token_issuer.jwks()
    }

    /// The issuer of the hub's tokens, as in their `iss`.
    pub fn issuer(&self) -> &str {
        &self.inner().issuer
    }
}

fn checked_scope(scope: &str) -> Result<String> {
    let words: Vec<&str> = scope.split(' ').filter(|word| !word.is_empty()).collect();
    let known = |word: &&str| {
        let verb = word.split_once(':').map_or(*word, |(verb, _)| verb);
        matches!(verb, "read" | "publish" | "manage" | "audit") && word.len() <= 80
    };
    if words.is_empty() || words.len() > MAX_SCOPES || !words.iter().all(known) {
        let detail = "scope is a list of read:PRODUCT, publish:PRODUCT, audit and manage, separated by blanks";
        return Err(HubError::new(codes::OAUTH_INVALID_REQUEST, detail));
    }
    Ok(words.join(" "))
}

fn unauthenticated() -> HubError {
    HubError::of(codes::UNAUTHENTICATED)
}

fn unproved(error: ScramError) -> HubError {
    unauthenticated().because(error)
}

/// A certificate's credential has the beginning of its digest as its id, so that it is found by what is presented.
pub(crate) fn certificate_id(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

fn refused(error: TokenError) -> HubError {
    let code = match error {
        TokenError::Expired => codes::CREDENTIALS_EXPIRED,
        _ => codes::UNAUTHENTICATED,
    };
    HubError::of(code).because(error)
}

pub(crate) fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
