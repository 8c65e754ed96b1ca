//! SASL: from what a client says it is to a caller of the hub.
//!
//! PLAIN carries an API key (or an access token) as its password; SCRAM-SHA-256 and SCRAM-SHA-512 prove one; OAUTHBEARER
//! carries an access token (RFC 7628). All of them end in the hub's own authentication. It knows no connection: what was
//! said before is in [`Exchange`].

use std::str;

use tradelane_hub::{Caller, Hub, HubError, Presented, Proving};
use tradelane_keys::ScramHash;
use tradelane_model::codes;

/// The mechanisms, as they are offered.
pub(crate) const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
/// The longest token or password.
const MAX_SECRET: usize = 16 << 10;

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    Scram(ScramHash),
    Bearer,
}

impl Mechanism {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "SCRAM-SHA-256" => Some(Self::Scram(ScramHash::Sha256)),
            "SCRAM-SHA-512" => Some(Self::Scram(ScramHash::Sha512)),
            "OAUTHBEARER" => Some(Self::Bearer),
            _ => None,
        }
    }
}

/// An exchange: which messages came already.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// None.
    Begun(Mechanism),
    /// SCRAM's first; the proof is due.
    Proving(Mechanism, Box<Proving>),
    /// OAUTHBEARER's token was refused and the client was told why; it has yet to say that it heard (RFC 7628, 3.2.3).
    Refused,
}

/// What a message led to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Another message is due.
    Continue(Exchange, Vec<u8>),
    /// It is this caller.
    Done(Mechanism, Caller, Vec<u8>),
}

impl Exchange {
    /// Takes the client's next message.
    pub(crate) fn next(self, hub: &Hub, message: &[u8]) -> Result<Step, HubError> {
        match self {
            Self::Begun(Mechanism::Plain) => {
                let caller = plain(hub, message)?;
                Ok(Step::Done(Mechanism::Plain, caller, Vec::new()))
            }
            Self::Begun(mechanism @ Mechanism::Scram(hash)) => {
                let (proving, challenge) = hub.begin_proof(hash, message)?;
                Ok(Step::Continue(Self::Proving(mechanism, Box::new(proving)), challenge.into_bytes()))
            }
            Self::Proving(mechanism, proving) => {
                let (caller, proof) = hub.finish_proof(*proving, message)?;
                Ok(Step::Done(mechanism, caller, proof.into_bytes()))
            }
            Self::Begun(Mechanism::Bearer) => match bearer(hub, message) {
                Ok(caller) => Ok(Step::Done(Mechanism::Bearer, caller, Vec::new())),
                Err(_) => Ok(Step::Continue(Self::Refused, br#"{"status":"invalid_token"}"#.to_vec())),
            },
            Self::Refused => Err(unauthenticated()),
        }
    }
}

/// `[authzid] NUL authcid NUL password` (RFC 4616). The password says it all; the name is there because clients want one.
fn plain(hub: &Hub, message: &[u8]) -> Result<Caller, HubError> {
    let mut parts = message.split(|&byte| byte == 0);
    let (Some(_), Some(_), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(unauthenticated());
    };
    let password = secret(password)?;
    match password.starts_with(tradelane_hub::authenticate::API_KEY_PREFIX) {
        true => hub.authenticate(Presented::ApiKey(password)),
        false => hub.authenticate(Presented::AccessToken(password)),
    }
}

/// `n,,^Aauth=Bearer TOKEN^A...^A^A` (RFC 7628, 3.1).
fn bearer(hub: &Hub, message: &[u8]) -> Result<Caller, HubError> {
    let mut fields = message.split(|&byte| byte == 1);
    let header = fields.next().unwrap_or_default();
    if !header.starts_with(b"n,") && !header.starts_with(b"y,") {
        return Err(unauthenticated());
    }
    let token = fields.find_map(|field| field.strip_prefix(b"auth=")).ok_or_else(unauthenticated)?;
    let (scheme, token) = token.split_at_checked(7).ok_or_else(unauthenticated)?;
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(unauthenticated());
    }
    hub.authenticate(Presented::AccessToken(secret(token)?.trim()))
}

fn secret(bytes: &[u8]) -> Result<&str, HubError> {
    str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_SECRET).ok_or_else(unauthenticated)
}

fn unauthenticated() -> HubError {
    HubError::of(codes::UNAUTHENTICATED)
}
