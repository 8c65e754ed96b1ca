//! Deterministic sealing of short values, for tokens: an equal value under an equal context gives an equal token, and whoever is
//! authorized turns it back.
//!
//! AWS-LC offers no AES-SIV, so this builds the same thing from what it has: the first 12 bytes of an HMAC-SHA-256 over
//! context and value are the AES-256-GCM nonce, and after opening they are computed anew and compared. Two different
//! values share a nonce with probability 2^-96 per pair, as good as random; equal values give equal bytes, which is the
//! purpose and the leak: whoever holds two sealed values learns whether they are equal. Never use it for what is stored.

use crate::aead::{AeadKey, NONCE_LEN, Nonce, OpenError, TAG_LEN};
use crate::hash::{MacKey, hkdf};
use crate::secret::{SecretBytes, constant_time_eq};

/// Seals short values so that equal values in an equal context give equal bytes: `nonce (12) ‖ ciphertext ‖ tag (16)`.
#[derive(Debug)]
pub struct DeterministicKey {
    nonce: MacKey,
    cipher: AeadKey,
}

impl DeterministicKey {
    /// Both halves are derived from `key`.
    pub fn new(key: &SecretBytes<32>) -> Self {
        let nonce = hkdf(key.expose(), &[b"tradelane/deterministic/v1", b"nonce"]);
        let cipher = hkdf(key.expose(), &[b"tradelane/deterministic/v1", b"cipher"]);
        Self { nonce: MacKey::new(nonce.expose()), cipher: AeadKey::new(&cipher) }
    }

    /// Seals `plain`; the same bytes each time for the same `context`.
    pub fn seal(&self, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce = self.synthetic_nonce(context, plain);
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let tag = self.cipher.seal_in_place_detached(&nonce, context, &mut out[NONCE_LEN..]);
        out.extend_from_slice(&tag);
        out
    }

    /// Opens what [`seal`](Self::seal) gave for the same `context`.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError)?;
        let mut plain = vec![0; ciphertext.len()];
        self.cipher.open_detached(nonce, context, ciphertext, tag, &mut plain)?;
        if !constant_time_eq(nonce, &self.synthetic_nonce(context, &plain)) {
            return Err(OpenError);
        }
        Ok(plain)
    }

    fn synthetic_nonce(&self, context: &[u8], plain: &[u8]) -> Nonce {
        let length = (context.len() as u64).to_be_bytes();
        let mac = self.nonce.mac_parts(&[&length, context, plain]);
        *mac.first_chunk().expect("32 bytes begin with 12")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_record_keys_stay_equal_and_open_again() {
        let key = DeterministicKey::new(&SecretBytes::random());
        let sealed = key.seal(b"topic", b"driver-7");
        assert_eq!(sealed, key.seal(b"topic", b"driver-7"));
        assert_eq!(key.open(b"topic", &sealed).unwrap(), b"driver-7");
    }

    #[test]
    fn other_keys_values_and_contexts_are_not_equal() {
        let key = DeterministicKey::new(&SecretBytes::random());
        let sealed = key.seal(b"topic", b"driver-7");
        assert_ne!(sealed, key.seal(b"topic", b"driver-8"));
        assert_ne!(sealed, key.seal(b"topid", b"driver-7"));
        assert_ne!(key.seal(b"to", b"picdriver-7"), sealed);
        assert_ne!(sealed, DeterministicKey::new(&SecretBytes::random()).seal(b"topic", b"driver-7"));
        assert_eq!(key.open(b"other", &sealed), Err(OpenError));
        assert_eq!(key.open(b"topic", &sealed[1..]), Err(OpenError));
        assert_eq!(key.open(b"topic", b""), Err(OpenError));
    }
}
