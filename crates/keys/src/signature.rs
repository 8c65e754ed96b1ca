//! Ed25519 signatures (RFC 8032).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::secret::SecretBytes;

/// The stored private key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored Ed25519 private key is not a PKCS#8 document of that kind; restore it from a backup")]
pub struct SigningKeyError;

/// An Ed25519 private key.
pub struct SigningKey {
    seed: SecretBytes<32>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A fresh key.
    pub fn generate() -> Self {
        Self::from_seed(&SecretBytes::random())
    }

    /// The key of a 32-byte seed: what a root key wraps and a key store keeps.
    pub fn from_seed(seed: &SecretBytes<32>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("any 32 bytes are an Ed25519 seed");
        Self { seed: seed.clone(), pair }
    }

    /// Reads a PKCS#8 document, version 1 or 2.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| SigningKeyError)?;
        let seed = pair.seed().map_err(|_| SigningKeyError)?;
        let bytes = aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&seed).map_err(|_| SigningKeyError)?;
        let seed = SecretBytes::from_slice(bytes.as_ref()).ok_or(SigningKeyError)?;
        Ok(Self { seed, pair })
    }

    /// The seed, to be wrapped and kept.
    pub fn seed(&self) -> &SecretBytes<32> {
        &self.seed
    }

    /// Signs `message`; deterministic, as Ed25519 is.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().expect("an Ed25519 signature is 64 bytes")
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key is 32 bytes")
    }

    /// PKCS#8, which the token library wants. Not to be stored.
    pub(crate) fn to_pkcs8(&self) -> Vec<u8> {
        self.pair.to_pkcs8().expect("a key that exists can be encoded").as_ref().to_vec()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Whether `signature` over `message` was made by the holder of `public_key`. False for anything malformed.
pub fn verify_ed25519(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_verifies_and_a_changed_message_does_not() {
        let key = SigningKey::generate();
        let signature = key.sign(b"tree of 7");
        assert!(verify_ed25519(&key.public_key(), b"tree of 7", &signature));
        assert!(!verify_ed25519(&key.public_key(), b"tree of 8", &signature));
        assert!(!verify_ed25519(&SigningKey::generate().public_key(), b"tree of 7", &signature));
        assert!(!verify_ed25519(&[1, 2, 3], b"tree of 7", &signature));
    }

    #[test]
    fn a_key_comes_back_from_its_seed_and_from_pkcs8() {
        let key = SigningKey::generate();
        assert_eq!(SigningKey::from_seed(key.seed()).public_key(), key.public_key());
        assert_eq!(SigningKey::from_pkcs8(&key.to_pkcs8()).unwrap().sign(b"x"), key.sign(b"x"));
        assert!(SigningKey::from_pkcs8(b"not a key").is_err());
    }
}
