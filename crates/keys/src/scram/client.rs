//! SCRAM, the client's side: proves to a server that one has the secret, and checks that the server has its verifier.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{MAX_ITERATIONS, MAX_MESSAGE, ScramError, ScramHash};
use crate::random::random_array;
use crate::secret::constant_time_eq;

/// What the client says first; waits for the server's challenge.
#[derive(Debug)]
pub struct ScramClient {
    hash: ScramHash,
    bare: String,
    nonce: String,
}

/// The client has sent its proof; waits for the server's.
pub struct ScramProven {
    expected: Vec<u8>,
}

impl std::fmt::Debug for ScramProven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramProven(..)")
    }
}

impl ScramClient {
    /// Begins; returns the first message.
    pub fn begin(hash: ScramHash, username: &str) -> (Self, String) {
        Self::begin_with(hash, username, STANDARD.encode(random_array::<24>()))
    }

    fn begin_with(hash: ScramHash, username: &str, nonce: String) -> (Self, String) {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let bare = format!("n={name},r={nonce}");
        let first = format!("n,,{bare}");
        (Self { hash, bare, nonce }, first)
    }

    /// Answers the challenge `r=NONCE,s=SALT,i=COUNT` with the last message. The password is ASCII.
    pub fn prove(self, challenge: &[u8], password: &str) -> Result<(ScramProven, String), ScramError> {
        let text = std::str::from_utf8(challenge).ok().filter(|text| text.len() <= MAX_MESSAGE);
        let mut parts = text.ok_or(ScramError::Malformed)?.split(',');
        let mut part = |name: &str| parts.next().and_then(|part| part.strip_prefix(name)).ok_or(ScramError::Malformed);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(ScramError::WrongProof);
        }
        let salt = STANDARD.decode(salt).map_err(|_| ScramError::Malformed)?;
        let iterations = iterations.parse().ok().filter(|n| (1..=MAX_ITERATIONS).contains(n));
        let salted = self.hash.salted(password, &salt, iterations.ok_or(ScramError::Malformed)?);
        let client_key = Zeroizing::new(self.hash.mac(&salted, b"Client Key"));
        let server_key = Zeroizing::new(self.hash.mac(&salted, b"Server Key"));
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{},{without_proof}", self.bare, text.unwrap_or_default());
        let signature = self.hash.mac(&self.hash.hash(&client_key), signed.as_bytes());
        let proof: Zeroizing<Vec<u8>> = Zeroizing::new(client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect());
        let last = format!("{without_proof},p={}", STANDARD.encode(&*proof));
        Ok((ScramProven { expected: self.hash.mac(&server_key, signed.as_bytes()) }, last))
    }
}

impl ScramProven {
    /// Checks the server's `v=PROOF`.
    pub fn check(self, message: &[u8]) -> Result<(), ScramError> {
        let text = std::str::from_utf8(message).ok().and_then(|text| text.strip_prefix("v="));
        let proof = STANDARD.decode(text.ok_or(ScramError::WrongProof)?).map_err(|_| ScramError::Malformed)?;
        if constant_time_eq(&proof, &self.expected) { Ok(()) } else { Err(ScramError::WrongProof) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScramFirst, ScramVerifier};

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_client_proves_as_the_rfc_does() {
        let (client, first) = ScramClient::begin_with(ScramHash::Sha256, "user", "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (proven, last) = client.prove(challenge, "pencil").unwrap();
        assert!(last.ends_with(",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="));
        proven.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
    }

    #[test]
    fn a_server_without_the_verifier_and_a_strange_nonce_are_found_out() {
        let (client, first) = ScramClient::begin(ScramHash::Sha512, "a,b=c");
        let first = ScramFirst::read(first.as_bytes()).unwrap();
        assert_eq!(first.username(), "a,b=c");
        let (_, challenge) = first.challenge(ScramVerifier::derive(ScramHash::Sha512, "secret"));
        let (proven, _) = client.prove(challenge.as_bytes(), "secret").unwrap();
        assert_eq!(proven.check(b"v=AAAA"), Err(ScramError::WrongProof));
        let (client, _) = ScramClient::begin(ScramHash::Sha512, "a");
        assert_eq!(client.prove(b"r=other,s=AAAA,i=4096", "x").unwrap_err(), ScramError::WrongProof);
    }
}
