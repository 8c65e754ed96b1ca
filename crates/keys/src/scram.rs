//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): what a server stores of a secret, and the exchange that proves
//! that a client has it without showing it; the client's side is in [`client`].
//!
//! It does not know users: whoever looks them up hands in a verifier, or a mock one for a user that does not exist, so
//! that both exchanges look alike until the end.

mod client;

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::random::random_array;
use crate::secret::constant_time_eq;

pub use client::{ScramClient, ScramProven};

/// RFC 7677 asks for 4096 at least. The secrets have 256 random bits, which no number of iterations makes any stronger.
const ITERATIONS: u32 = 4_096;
/// The most iterations that a stored verifier may name.
const MAX_ITERATIONS: u32 = 100_000;
const SALT_LEN: usize = 16;
/// The longest message of a client.
const MAX_MESSAGE: usize = 4_096;
/// The longest nonce of a client.
const MAX_NONCE: usize = 256;

/// The hash that an exchange uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    /// The mechanism's registered name.
    pub fn mechanism(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    fn mac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
    }

    fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn salted(self, password: &str, salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut out = Zeroizing::new(vec![0; self.len()]);
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), &mut out);
        out
    }
}

/// What is stored of a secret for one hash: enough to check a proof, not enough to make one.
#[derive(Clone)]
pub struct ScramVerifier {
    hash: ScramHash,
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

impl ScramVerifier {
    /// Of that secret, which is ASCII (so that SASLprep would change nothing), with a random salt.
    pub fn derive(hash: ScramHash, secret: &str) -> Self {
        Self::with(hash, secret, random_array::<SALT_LEN>().to_vec(), ITERATIONS)
    }

    fn with(hash: ScramHash, secret: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let salted = hash.salted(secret, &salt, iterations);
        let client_key = Zeroizing::new(hash.mac(&salted, b"Client Key"));
        let server_key = Zeroizing::new(hash.mac(&salted, b"Server Key"));
        Self { hash, iterations, salt, stored_key: hash.hash(&client_key), server_key }
    }

    /// Of a user who does not exist: `seed` (a MAC of the name under a secret key) makes it the same each time, and no
    /// proof satisfies it.
    pub fn mock(hash: ScramHash, seed: &[u8; 32]) -> Self {
        let part = |label: &[u8]| hash.mac(seed, label);
        let mut salt = part(b"salt");
        salt.truncate(SALT_LEN);
        let server_key = Zeroizing::new(part(b"server"));
        Self { hash, iterations: ITERATIONS, salt, stored_key: random_array::<64>()[..hash.len()].to_vec(), server_key }
    }

    /// As RFC 5803 writes it: `SCRAM-SHA-256$4096:SALT$STORED:SERVER`.
    pub fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt, &self.stored_key, &*self.server_key].map(|part| STANDARD.encode(part));
        format!("{}${}:{salt}${stored}:{server}", self.hash.mechanism(), self.iterations)
    }

    /// Reads what [`ScramVerifier::to_text`] wrote, if it is for that hash.
    pub fn from_text(hash: ScramHash, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(hash.mechanism())?.strip_prefix('$')?;
        let (head, keys) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        let iterations = iterations.parse().ok().filter(|n| (1..=MAX_ITERATIONS).contains(n))?;
        let key = |text: &str| STANDARD.decode(text).ok().filter(|key| key.len() == hash.len());
        let server_key = Zeroizing::new(key(server)?);
        Some(Self { hash, iterations, salt: STANDARD.decode(salt).ok()?, stored_key: key(stored)?, server_key })
    }
}

/// The exchange is not one that this server takes part in, or its proof is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Not as RFC 5802 has it.
    #[error("the SCRAM message is malformed")]
    Malformed,
    /// The client wants what is not offered: channel binding, or to act as somebody else.
    #[error("channel binding and other identities are not supported")]
    Unsupported,
    /// The proof, or the nonce, is wrong.
    #[error("the proof is wrong")]
    WrongProof,
}

/// The client's first message: who it says it is.
#[derive(Debug)]
pub struct ScramFirst {
    username: String,
    gs2: String,
    bare: String,
    nonce: String,
}

impl ScramFirst {
    /// Reads `n,,n=USER,r=NONCE`.
    pub fn read(message: &[u8]) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(message).ok().filter(|text| text.len() <= MAX_MESSAGE);
        let text = text.ok_or(ScramError::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(binding), Some(other), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::Malformed);
        };
        if binding != "n" && binding != "y" {
            return Err(ScramError::Unsupported);
        }
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|part| part.strip_prefix("n=")).ok_or(ScramError::Malformed)?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        if nonce.is_empty() || nonce.len() > MAX_NONCE || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ScramError::Malformed);
        }
        if !other.is_empty() && other.strip_prefix("a=") != Some(name) {
            return Err(ScramError::Unsupported);
        }
        Ok(Self {
            username: name.replace("=2C", ",").replace("=3D", "="),
            gs2: format!("{binding},{other},"),
            bare: bare.to_owned(),
            nonce: nonce.to_owned(),
        })
    }

    /// Who the client says it is.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Goes on with that user's verifier. Returns what to send to the client as well.
    pub fn challenge(self, verifier: ScramVerifier) -> (ScramExchange, String) {
        self.challenge_with(verifier, &STANDARD.encode(random_array::<18>()))
    }

    fn challenge_with(self, verifier: ScramVerifier, nonce: &str) -> (ScramExchange, String) {
        let nonce = format!("{}{nonce}", self.nonce);
        let first = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let exchange = ScramExchange {
            verifier,
            binding: STANDARD.encode(self.gs2),
            signed: format!("{},{first},", self.bare),
            nonce,
        };
        (exchange, first)
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub struct ScramExchange {
    verifier: ScramVerifier,
    binding: String,
    signed: String,
    nonce: String,
}

impl ScramExchange {
    /// Checks `c=...,r=NONCE,p=PROOF`; returns the server's own proof for the client.
    pub fn finish(self, message: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(message).ok().filter(|text| text.len() <= MAX_MESSAGE);
        let (without_proof, proof) = text.and_then(|text| text.rsplit_once(",p=")).ok_or(ScramError::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c=")).ok_or(ScramError::Malformed)?;
        let nonce = attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or(ScramError::Malformed)?;
        // librdkafka before 2.2 writes its own part twice; what matters is that ours is in what is signed.
        if binding != self.binding || !nonce.ends_with(&self.nonce) {
            return Err(ScramError::WrongProof);
        }
        let hash = self.verifier.hash;
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Malformed)?;
        let signed = format!("{}{without_proof}", self.signed);
        let signature = hash.mac(&self.verifier.stored_key, signed.as_bytes());
        if proof.len() != signature.len() {
            return Err(ScramError::WrongProof);
        }
        let client_key: Zeroizing<Vec<u8>> = Zeroizing::new(proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect());
        if !constant_time_eq(&hash.hash(&client_key), &self.verifier.stored_key) {
            return Err(ScramError::WrongProof);
        }
        Ok(format!("v={}", STANDARD.encode(hash.mac(&self.verifier.server_key, signed.as_bytes()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_rfc_is_accepted_and_answered_as_the_rfc_does() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = ScramVerifier::with(ScramHash::Sha256, "pencil", salt, 4_096);
        let verifier = ScramVerifier::from_text(ScramHash::Sha256, &verifier.to_text()).unwrap();
        let first = ScramFirst::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        assert_eq!(first.username(), "user");
        let (exchange, challenge) = first.challenge_with(verifier, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        assert_eq!(challenge, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(exchange.finish(last).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_wrong_proof_a_strange_nonce_and_a_mock_user_all_fail_alike() {
        for hash in [ScramHash::Sha256, ScramHash::Sha512] {
            let start = || ScramFirst::read(b"n,,n=user,r=abc").unwrap();
            let proof = STANDARD.encode(vec![7; hash.len()]);
            for verifier in [ScramVerifier::derive(hash, "secret"), ScramVerifier::mock(hash, &[1; 32])] {
                let (exchange, challenge) = start().challenge(verifier.clone());
                let nonce = challenge.split(',').next().unwrap().to_owned();
                let finished = exchange.finish(format!("c=biws,{nonce},p={proof}").as_bytes());
                assert_eq!(finished, Err(ScramError::WrongProof));
                let (exchange, _) = start().challenge(verifier);
                let finished = exchange.finish(format!("c=biws,r=abc,p={proof}").as_bytes());
                assert_eq!(finished, Err(ScramError::WrongProof));
            }
        }
    }

    #[test]
    fn a_mock_user_has_the_same_salt_each_time() {
        let salt = |seed| ScramVerifier::mock(ScramHash::Sha512, seed).salt;
        assert_eq!(salt(&[1; 32]), salt(&[1; 32]));
        assert_ne!(salt(&[1; 32]), salt(&[2; 32]));
    }

    #[test]
    fn what_is_no_first_message_is_refused() {
        for bad in ["", "n", "n,,", "n,,n=u", "n,,r=x,n=u", "n,,n=u,r=", "n,,n=u,r=a b"] {
            assert_eq!(ScramFirst::read(bad.as_bytes()).unwrap_err(), ScramError::Malformed, "{bad}");
        }
        for unsupported in ["p=tls-unique,,n=u,r=x", "n,a=other,n=u,r=x"] {
            assert_eq!(ScramFirst::read(unsupported.as_bytes()).unwrap_err(), ScramError::Unsupported);
        }
        assert_eq!(ScramFirst::read(b"n,a=u,n=u,r=x").unwrap().username(), "u");
        assert!(ScramVerifier::from_text(ScramHash::Sha256, "SCRAM-SHA-512$1:x$y:z").is_none());
    }
}
