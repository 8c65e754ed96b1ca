//! Access tokens: signed JWTs in the profile of RFC 9068 (`at+jwt`), EdDSA only.
//!
//! The verifier pins everything an attacker could choose: algorithm, type, issuer, audience and key; a token that brings
//! its own key (`jwk`, `jku`, `x5u`, `x5c`) or asks for extensions (`crit`) is refused. Time is an argument.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::hash::sha256;
use crate::signature::SigningKey;

/// Longest token looked at, in bytes.
const MAX_TOKEN: usize = 8 * 1024;
const TYPE: &str = "at+jwt";

/// The claims of an access token (RFC 9068, 2.2). Times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// The principal it speaks for.
    pub sub: String,
    /// The hub it is meant for.
    pub aud: String,
    /// The OAuth client it was issued to.
    pub client_id: String,
    /// The organization the principal belongs to.
    pub org: String,
    /// Space-separated scopes (RFC 8693, 4.2).
    pub scope: String,
    /// Issued at.
    pub iat: i64,
    /// Not before.
    pub nbf: i64,
    /// Expires.
    pub exp: i64,
    /// Unique id, by which a token can be revoked.
    pub jti: String,
}

/// What a caller decides about a token to be minted.
#[derive(Debug, Clone)]
pub struct TokenRequest<'a> {
    /// The principal it speaks for.
    pub subject: &'a str,
    /// The OAuth client that asked.
    pub client_id: &'a str,
    /// The principal's organization.
    pub organization: &'a str,
    /// Space-separated scopes.
    pub scope: &'a str,
    /// Seconds until it expires.
    pub lifetime: i64,
}

/// Why a token is refused. The names tell an operator; a caller of the API is told only that the token is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT of the expected form, or too long.
    #[error("the access token is malformed; send one exactly as it was issued")]
    Malformed,
    /// Another `typ`, `alg`, or a header that brings its own key.
    #[error("the access token is of another kind; send one from this hub's token endpoint")]
    WrongKind,
    /// Signed by a key that is not pinned here.
    #[error("the access token is signed by an unknown key; fetch a new one")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the access token's signature does not verify; fetch a new one")]
    BadSignature,
    /// Issued by or for someone else.
    #[error("the access token is not from this issuer or not for this hub; fetch one for this hub")]
    WrongParty,
    /// Not valid any more.
    #[error("the access token has expired; fetch a new one")]
    Expired,
    /// Not valid yet.
    #[error("the access token is not valid yet; check the clock")]
    NotYetValid,
}

/// The id under which a public key is known: the first 16 hexadecimal digits of its SHA-256.
pub fn key_id(public_key: &[u8; 32]) -> String {
    sha256(public_key).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Mints tokens with one key.
pub struct TokenIssuer {
    key: EncodingKey,
    header: Header,
    public_key: [u8; 32],
    issuer: String,
    audience: String,
}

impl TokenIssuer {
    /// Signs as `issuer`, for `audience`.
    pub fn new(key: &SigningKey, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        let public_key = key.public_key();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key_id(&public_key));
        let key = EncodingKey::from_ed_der(&key.to_pkcs8());
        Self { key, header, public_key, issuer: issuer.into(), audience: audience.into() }
    }

    /// A token from `now` (seconds since the Unix epoch) for the lifetime asked for, and its claims.
    pub fn mint(&self, request: &TokenRequest<'_>, now: i64) -> (String, AccessClaims) {
        let jti: [u8; 16] = crate::random::random_array();
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            sub: request.subject.to_owned(),
            aud: self.audience.clone(),
            client_id: request.client_id.to_owned(),
            org: request.organization.to_owned(),
            scope: request.scope.to_owned(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(request.lifetime),
            jti: URL_SAFE_NO_PAD.encode(jti),
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.key)
            .expect("a key that exists signs, and the claims are plain strings and integers");
        (token, claims)
    }

    /// The public key as a JSON Web Key Set (RFC 7517, RFC 8037), for `/.well-known/jwks.json`.
    pub fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.public_key);
        let kid = key_id(&self.public_key);
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"{kid}","x":"{x}"}}]}}"#)
    }
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Verifies tokens of one issuer for one audience under pinned keys. About 50 us a call: verify once, remember the session.
pub struct TokenVerifier {
    keys: Vec<(String, DecodingKey)>,
    validation: Validation,
    tolerance: i64,
}

impl TokenVerifier {
    /// `tolerance` is the one clock tolerance of the installation, in seconds, applied to every time claim.
    pub fn new(issuer: &str, audience: &str, keys: &[[u8; 32]], tolerance: i64) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // The library would read the system's clock; the times are checked below against the caller's.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let keys = keys.iter().map(|key| (key_id(key), DecodingKey::from_ed_der(key))).collect();
        Self { keys, validation, tolerance }
    }

    /// The claims of a token that is valid at `now` (seconds since the Unix epoch).
    pub fn verify(&self, token: &str, now: i64) -> Result<AccessClaims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let key = self.pinned_key(&header)?;
        let claims = jsonwebtoken::decode::<AccessClaims>(token, key, &self.validation)
            .map_err(|error| refusal(error.kind()))?
            .claims;
        if claims.exp.saturating_add(self.tolerance) <= now {
            return Err(TokenError::Expired);
        }
        if claims.nbf.saturating_sub(self.tolerance) > now || claims.iat.saturating_sub(self.tolerance) > now {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }

    fn pinned_key(&self, header: &Header) -> Result<&DecodingKey, TokenError> {
        let kind = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        let right_kind = kind.strip_prefix("application/").unwrap_or(&kind) == TYPE;
        let own_key = header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some();
        if !right_kind || header.alg != Algorithm::EdDSA || own_key || header.crit.is_some() {
            return Err(TokenError::WrongKind);
        }
        let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
        let found = self.keys.iter().find(|(id, _)| id == kid);
        found.map(|(_, key)| key).ok_or(TokenError::UnknownKey)
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").field("tolerance", &self.tolerance).finish_non_exhaustive()
    }
}

fn refusal(kind: &jsonwebtoken::errors::ErrorKind) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match kind {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => TokenError::WrongParty,
        ErrorKind::InvalidAlgorithm => TokenError::WrongKind,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    fn request() -> TokenRequest<'static> {
        TokenRequest { subject: "svc", client_id: "svc", organization: "acme", scope: "read:lane", lifetime: 300 }
    }

    fn issuer_and_verifier() -> (TokenIssuer, TokenVerifier) {
        let key = SigningKey::generate();
        let issuer = TokenIssuer::new(&key, "https://hub", "hub");
        (issuer, TokenVerifier::new("https://hub", "hub", &[key.public_key()], 30))
    }

    /// A token with a header and claims of the test's choosing, properly signed.
    fn forge(key: &SigningKey, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes())))
    }

    #[test]
    fn a_minted_token_verifies_within_its_time_and_the_one_tolerance() {
        let (issuer, verifier) = issuer_and_verifier();
        let (token, claims) = issuer.mint(&request(), NOW);
        assert_eq!(verifier.verify(&token, NOW), Ok(claims.clone()));
        assert_eq!(verifier.verify(&token, NOW + 329), Ok(claims.clone()));
        assert_eq!(verifier.verify(&token, NOW + 330), Err(TokenError::Expired));
        assert_eq!(verifier.verify(&token, NOW - 30), Ok(claims));
        assert_eq!(verifier.verify(&token, NOW - 31), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_token_of_another_key_issuer_or_audience_is_refused() {
        let key = SigningKey::generate();
        let verifier = TokenVerifier::new("https://hub", "hub", &[key.public_key()], 0);
        let refused = |issuer: &TokenIssuer| verifier.verify(&issuer.mint(&request(), NOW).0, NOW);
        assert_eq!(
            refused(&TokenIssuer::new(&SigningKey::generate(), "https://hub", "hub")),
            Err(TokenError::UnknownKey)
        );
        assert_eq!(refused(&TokenIssuer::new(&key, "https://other", "hub")), Err(TokenError::WrongParty));
        assert_eq!(refused(&TokenIssuer::new(&key, "https://hub", "other")), Err(TokenError::WrongParty));
        assert!(refused(&TokenIssuer::new(&key, "https://hub", "hub")).is_ok());
    }

    #[test]
    fn a_changed_token_is_refused() {
        let (issuer, verifier) = issuer_and_verifier();
        let (token, _) = issuer.mint(&request(), NOW);
        for at in 0..token.len() - 1 {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(verifier.verify(std::str::from_utf8(&changed).unwrap(), NOW).is_err());
        }
    }

    #[test]
    fn a_token_that_chooses_its_own_kind_algorithm_or_key_is_refused() {
        let key = SigningKey::generate();
        let verifier = TokenVerifier::new("https://hub", "hub", &[key.public_key()], 0);
        let kid = key_id(&key.public_key());
        let claims = format!(
            r#"{{"iss":"https://hub","aud":"hub","sub":"s","client_id":"c","org":"o","scope":"","iat":{NOW},"nbf":{NOW},"exp":{},"jti":"j"}}"#,
            NOW + 60
        );
        let verdict = |header: String| verifier.verify(&forge(&key, &header, &claims), NOW).map(|_| ());
        assert_eq!(verdict(format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{kid}"}}"#)), Ok(()));
        let bad = [
            format!(r#"{{"typ":"JWT","alg":"EdDSA","kid":"{kid}"}}"#),
            format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"HS256","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"none","kid":"{kid}"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{kid}","jku":"https://evil"}}"#),
            format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{kid}","crit":["b64"]}}"#),
            r#"{"typ":"at+jwt","alg":"EdDSA","kid":"0000000000000000"}"#.to_owned(),
            r#"{"typ":"at+jwt","alg":"EdDSA"}"#.to_owned(),
        ];
        for header in bad {
            assert!(verdict(header.clone()).is_err(), "{header}");
        }
    }

    #[test]
    fn text_that_is_no_token_is_refused() {
        let (_, verifier) = issuer_and_verifier();
        for text in ["", ".", "..", "a.b.c", "....", &"a".repeat(100_000)] {
            assert_eq!(verifier.verify(text, NOW), Err(TokenError::Malformed));
        }
    }
}
