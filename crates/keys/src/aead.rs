//! AES-256-GCM, the one authenticated cipher of the product.
//!
//! Nonces are the caller's: this module does not know how many messages a key has sealed. Whoever holds a key documents
//! why its nonces never repeat.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, UnboundKey};

use crate::random::Random;
use crate::secret::SecretBytes;

/// Length of a nonce in bytes.
pub const NONCE_LEN: usize = 12;
/// Length of an authentication tag in bytes.
pub const TAG_LEN: usize = 16;
/// A 96-bit nonce. It must never repeat under one key.
pub type Nonce = [u8; NONCE_LEN];
/// A 128-bit authentication tag.
pub type Tag = [u8; TAG_LEN];

/// The bytes were not sealed under this key, nonce and context, or were changed since. Says no more on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed bytes do not authenticate under this key and context")]
pub struct OpenError;

/// An AES-256-GCM key with its key schedule computed (about 0.7 KiB of memory).
///
/// For very many keys keep [`SecretBytes<32>`] and build this on use: that is faster than a cache miss on the big object.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Computes the key schedule.
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key");
        Self(LessSafeKey::new(unbound))
    }

    /// Computes the key schedule of a secret.
    pub fn new(key: &SecretBytes<32>) -> Self {
        Self::from_bytes(key.expose())
    }

    /// A fresh key that is never seen outside.
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let key = Self::from_bytes(&bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        key
    }

    /// Encrypts `buffer` where it lies and appends the tag.
    ///
    /// # Panics
    /// Only above the cipher's limit of 64 GiB in one message.
    pub fn seal_in_place(&self, nonce: &Nonce, aad: &[u8], buffer: &mut Vec<u8>) {
        let tag = self.seal_in_place_detached(nonce, aad, buffer);
        buffer.extend_from_slice(&tag);
    }

    /// Encrypts `buffer` where it lies and returns the tag apart.
    ///
    /// # Panics
    /// Only above the cipher's limit of 64 GiB in one message.
    pub fn seal_in_place_detached(&self, nonce: &Nonce, aad: &[u8], buffer: &mut [u8]) -> Tag {
        let tag = self
            .0
            .seal_in_place_separate_tag(gcm_nonce(nonce), Aad::from(aad), buffer)
            .expect("AES-256-GCM refuses only messages above 64 GiB");
        tag.as_ref().try_into().expect("a GCM tag is 16 bytes")
    }

    /// Checks and decrypts `ciphertext ‖ tag` where it lies; the returned slice is the plain text.
    pub fn open_in_place<'a>(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        self.0.open_in_place(gcm_nonce(nonce), Aad::from(aad), sealed).map_err(|_| OpenError)
    }

    /// Checks and decrypts `ciphertext` into `out`, which must be exactly as long. On an error `out` is wiped.
    pub fn open_detached(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &Tag,
        out: &mut [u8],
    ) -> Result<(), OpenError> {
        if ciphertext.len() != out.len() {
            return Err(OpenError);
        }
        let opened = self.0.open_separate_gather(gcm_nonce(nonce), Aad::from(aad), ciphertext, tag, out);
        opened.map_err(|_| {
            out.fill(0);
            OpenError
        })
    }
}

impl std::fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

fn gcm_nonce(nonce: &Nonce) -> aws_lc_rs::aead::Nonce {
    aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn what_was_sealed_opens_again() {
        let key = AeadKey::generate(&SystemRandom);
        let mut buffer = b"a pallet".to_vec();
        key.seal_in_place(&[1; 12], b"lane", &mut buffer);
        assert_eq!(buffer.len(), 8 + TAG_LEN);
        let plain = key.open_in_place(&[1; 12], b"lane", &mut buffer);
        assert_eq!(plain.unwrap(), b"a pallet");
    }

    #[test]
    fn another_context_nonce_or_key_does_not_open() {
        let key = AeadKey::generate(&SystemRandom);
        let mut sealed = b"a pallet".to_vec();
        let tag = key.seal_in_place_detached(&[1; 12], b"lane", &mut sealed);
        let mut out = [7; 8];
        let other = AeadKey::generate(&SystemRandom);
        assert_eq!(key.open_detached(&[1; 12], b"line", &sealed, &tag, &mut out), Err(OpenError));
        assert_eq!(out, [0; 8]);
        assert_eq!(key.open_detached(&[2; 12], b"lane", &sealed, &tag, &mut out), Err(OpenError));
        assert_eq!(other.open_detached(&[1; 12], b"lane", &sealed, &tag, &mut out), Err(OpenError));
        assert_eq!(key.open_detached(&[1; 12], b"lane", &sealed, &tag, &mut out[..7]), Err(OpenError));
        assert_eq!(key.open_detached(&[1; 12], b"lane", &sealed, &tag, &mut out), Ok(()));
        assert_eq!(&out, b"a pallet");
    }

    /// NIST GCM test case 16 (AES-256, 96-bit IV, with additional data).
    #[test]
    fn it_is_aes_256_gcm_as_nist_has_it() {
        let key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce: Nonce = unhex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let mut text = unhex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        let key = AeadKey::from_bytes(&key.try_into().unwrap());
        let tag = key.seal_in_place_detached(&nonce, &aad, &mut text);
        assert_eq!(tag.to_vec(), unhex("76fc6ece0f4e1768cddf8853bb2d551b"));
        assert_eq!(text[..4], unhex("522dc1f0"));
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }
}
