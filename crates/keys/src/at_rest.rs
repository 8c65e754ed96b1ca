//! Encryption of whole values at rest: what storage and audit put on a disk.

use std::ops::Range;

use crate::aead::{AeadKey, NONCE_LEN, Nonce, OpenError, TAG_LEN};
use crate::secret::SecretBytes;

/// Seals and opens values under one key: `nonce (12, random) ‖ ciphertext ‖ tag (16)`.
///
/// Nonces are random, so one key serves up to 2^32 values (NIST SP 800-38D, 8.3); give each kind of value a key of its
/// own, derived with [`crate::hkdf`] or [`crate::RootKey::derive`], and name its place in `aad` so that values cannot be
/// swapped.
#[derive(Debug)]
pub struct AtRest(AeadKey);

/// Bytes that a sealed value has more than its plain text.
const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

impl AtRest {
    /// Under this key.
    pub fn new(key: &SecretBytes<32>) -> Self {
        Self(AeadKey::new(key))
    }

    /// Seals `plain`, bound to `aad`.
    pub fn seal_blob(&self, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        self.seal_onto(aad, plain, &mut out);
        out
    }

    /// As [`seal_blob`](Self::seal_blob), appended to `out`.
    pub fn seal_onto(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        let nonce: Nonce = crate::random::random_array();
        out.reserve(plain.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        let begin = out.len();
        out.extend_from_slice(plain);
        let tag = self.0.seal_in_place_detached(&nonce, aad, &mut out[begin..]);
        out.extend_from_slice(&tag);
    }

    /// Opens what [`seal_blob`](Self::seal_blob) gave for the same `aad`.
    pub fn open_blob(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(OpenError)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(OpenError)?;
        let mut plain = vec![0; ciphertext.len()];
        self.0.open_detached(nonce, aad, ciphertext, tag, &mut plain)?;
        Ok(plain)
    }

    /// As [`open_blob`](Self::open_blob), without a copy: answers where in `sealed` the plain text lies now. On an error
    /// what is in `sealed` is worth nothing.
    pub fn open_where_it_lies(&self, aad: &[u8], sealed: &mut [u8]) -> Result<Range<usize>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_LEN>().ok_or(OpenError)?;
        let length = self.0.open_in_place(nonce, aad, rest)?.len();
        Ok(NONCE_LEN..NONCE_LEN + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_opens_in_its_own_place_only() {
        let at_rest = AtRest::new(&SecretBytes::random());
        let sealed = at_rest.seal_blob(b"journal/7", b"grant");
        assert_eq!(at_rest.open_blob(b"journal/7", &sealed).unwrap(), b"grant");
        assert_eq!(at_rest.open_blob(b"journal/8", &sealed), Err(OpenError));
        assert_ne!(sealed, at_rest.seal_blob(b"journal/7", b"grant"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_an_error() {
        let at_rest = AtRest::new(&SecretBytes::random());
        let sealed = at_rest.seal_blob(b"", b"grant");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(at_rest.open_blob(b"", &changed), Err(OpenError));
        }
        for len in 0..sealed.len() {
            assert_eq!(at_rest.open_blob(b"", &sealed[..len]), Err(OpenError));
            assert_eq!(at_rest.open_where_it_lies(b"", &mut sealed[..len].to_vec()), Err(OpenError));
        }
    }

    #[test]
    fn a_blob_opens_where_it_lies_behind_others() {
        let at_rest = AtRest::new(&SecretBytes::random());
        let mut sealed = b"before".to_vec();
        at_rest.seal_onto(b"journal/7", b"grant", &mut sealed);
        assert_eq!(at_rest.open_blob(b"journal/7", &sealed[6..]).unwrap(), b"grant");
        let plain = at_rest.open_where_it_lies(b"journal/7", &mut sealed[6..]).unwrap();
        assert_eq!(&sealed[6..][plain], b"grant");
        assert_eq!(at_rest.open_where_it_lies(b"journal/8", &mut sealed[6..]), Err(OpenError));
    }
}
