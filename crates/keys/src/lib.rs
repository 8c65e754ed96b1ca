//! Keys: the only crate of Tradelane that names a cryptographic library.
//!
//! What is here: authenticated encryption, keyed hashes, key derivation, signatures, randomness, secret types, the local
//! root key and what it wraps, access tokens, API keys, SCRAM, and development certificates. Everything rests on one library,
//! AWS-LC through `aws-lc-rs`.
//!
//! What this crate does not know: events, contracts, storage, time. It takes the current time as whole seconds since the
//! Unix epoch where a token or a certificate needs one, and touches the disk only for the root key's own file.

mod aead;
mod at_rest;
mod certificate;
mod credential;
mod deterministic;
mod hash;
mod random;
mod root;
mod scram;
mod secret;
mod signature;
mod token;

pub use aead::{AeadKey, NONCE_LEN, Nonce, OpenError, TAG_LEN, Tag};
pub use at_rest::AtRest;
pub use certificate::{CertificateError, DevelopmentCa, ServerIdentity};
pub use credential::{Credential, CredentialText, SecretDigest};
pub use deterministic::DeterministicKey;
pub use hash::{MacKey, Sha256, hkdf, sha256};
pub use random::{Random, SystemRandom, random_array};
pub use root::{RootKey, RootKeyError};
pub use scram::{ScramClient, ScramError, ScramExchange, ScramFirst, ScramHash, ScramProven, ScramVerifier};
pub use secret::{SecretBytes, constant_time_eq};
pub use signature::{SigningKey, SigningKeyError, verify_ed25519};
pub use token::{AccessClaims, TokenError, TokenIssuer, TokenRequest, TokenVerifier, key_id};
