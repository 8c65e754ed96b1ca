//! SHA-256, HMAC-SHA-256 and HKDF-SHA-256.

use aws_lc_rs::{digest, hkdf as lc_hkdf, hmac};

use crate::secret::SecretBytes;

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    to_array(digest::digest(&digest::SHA256, data).as_ref())
}

/// SHA-256 of data that arrives in pieces.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// An empty hash.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds a piece.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> [u8; 32] {
        to_array(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// An HMAC-SHA-256 key with its pads computed.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Computes the pads. Keys shorter than 32 bytes are the caller's mistake, not refused here.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// HMAC-SHA-256 of `data`.
    pub fn mac(&self, data: &[u8]) -> [u8; 32] {
        to_array(hmac::sign(&self.0, data).as_ref())
    }

    /// HMAC-SHA-256 over `parts` one after the other. The parts are not framed: frame them yourself where a boundary
    /// that moves would matter.
    pub fn mac_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(part);
        }
        to_array(context.sign().as_ref())
    }

    /// Whether `mac` is the HMAC of `data`, in constant time.
    pub fn verify(&self, data: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, data, mac).is_ok()
    }
}

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// HKDF-SHA-256 (RFC 5869) without a salt. Each part of `info` goes in with its length in front (u32, big endian), so that
/// `["ab", "c"]` and `["a", "bc"]` give different keys.
pub fn hkdf(ikm: &[u8; 32], info: &[&[u8]]) -> SecretBytes<32> {
    let lengths: Vec<[u8; 4]> =
        info.iter().map(|part| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()).collect();
    let mut framed: Vec<&[u8]> = Vec::with_capacity(info.len() * 2);
    for (length, part) in lengths.iter().zip(info) {
        framed.push(length);
        framed.push(part);
    }
    let prk = lc_hkdf::Salt::none(lc_hkdf::HKDF_SHA256).extract(ikm);
    let mut out = [0; 32];
    prk.expand(&framed, lc_hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .expect("32 bytes are within what HKDF-SHA-256 gives");
    let secret = SecretBytes::new(out);
    zeroize::Zeroize::zeroize(&mut out);
    secret
}

fn to_array(digest: &[u8]) -> [u8; 32] {
    digest.try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_in_pieces_is_sha256_at_once() {
        let mut hash = Sha256::new();
        hash.update(b"ab");
        hash.update(b"c");
        assert_eq!(hash.finish(), sha256(b"abc"));
        assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_is_as_the_rfc_has_it() {
        let key = MacKey::new(b"Jefe");
        let mac = key.mac(b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(mac, key.mac_parts(&[b"what do ya want ", b"for nothing?"]));
        assert!(key.verify(b"what do ya want for nothing?", &mac));
        assert!(!key.verify(b"what do ya want for nothing!", &mac));
    }

    #[test]
    fn a_moved_boundary_in_the_info_gives_another_key() {
        let ikm = [3; 32];
        assert!(hkdf(&ikm, &[b"ab", b"c"]) != hkdf(&ikm, &[b"a", b"bc"]));
        assert!(hkdf(&ikm, &[b"ab", b"c"]) == hkdf(&ikm, &[b"ab", b"c"]));
        assert!(hkdf(&ikm, &[b"ab"]) != hkdf(&[4; 32], &[b"ab"]));
    }
}
