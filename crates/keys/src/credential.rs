//! API keys and client secrets: high-entropy random text, shown once, kept as a digest only.
//!
//! A password hash would add nothing: the secret has 256 random bits, so one SHA-256 is as strong, and a check costs under
//! a microsecond instead of a tenth of a second an attacker could use against us.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::hash::sha256;
use crate::secret::{SecretBytes, constant_time_eq};

const ID_LEN: usize = 16;
const SECRET_TEXT_LEN: usize = 43;

/// What is stored of a credential's secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// From storage.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For storage.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `credential` carries the secret this is the digest of, in constant time.
    pub fn matches(&self, credential: &Credential) -> bool {
        constant_time_eq(&self.0, &credential.digest().0)
    }
}

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretDigest(..)")
    }
}

/// A credential as its holder presents it: a public id to look it up by, and a secret.
#[derive(Debug)]
pub struct Credential {
    id: String,
    secret: SecretBytes<32>,
}

/// The text to hand to the holder, once: `<prefix>_<id>_<secret>`. Wiped on drop, never printed by `Debug`.
#[derive(zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct CredentialText(String);

impl CredentialText {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for CredentialText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CredentialText(..)")
    }
}

impl Credential {
    /// A fresh credential: 64 random bits of id, 256 of secret.
    pub fn generate() -> Self {
        let id: [u8; ID_LEN / 2] = crate::random::random_array();
        let id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, secret: SecretBytes::random() }
    }

    /// Reads `<prefix>_<id>_<secret>`. `None` for any other text; which part was wrong is nobody's business.
    pub fn parse(prefix: &str, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(prefix)?.strip_prefix('_')?;
        let (id, secret) = rest.split_once('_')?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.len() != ID_LEN || !id.bytes().all(hex) || secret.len() != SECRET_TEXT_LEN {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let secret = SecretBytes::from_slice(&bytes);
        zeroize::Zeroize::zeroize(&mut bytes);
        Some(Self { id: id.to_owned(), secret: secret? })
    }

    /// The public part: 16 lower-case hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text for the holder.
    pub fn to_text(&self, prefix: &str) -> CredentialText {
        let secret = URL_SAFE_NO_PAD.encode(self.secret.expose());
        CredentialText(format!("{prefix}_{}_{secret}", self.id))
    }

    /// What to store: SHA-256 over a fixed label, the id and the secret, so that a digest is of use for its own id only.
    pub fn digest(&self) -> SecretDigest {
        let mut input = Vec::with_capacity(96);
        input.extend_from_slice(b"tradelane/credential/v1\0");
        input.extend_from_slice(self.id.as_bytes());
        input.extend_from_slice(self.secret.expose());
        let digest = SecretDigest(sha256(&input));
        zeroize::Zeroize::zeroize(&mut input);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_survives_its_text_and_matches_its_digest() {
        let credential = Credential::generate();
        let digest = SecretDigest::from_bytes(*credential.digest().as_bytes());
        let text = credential.to_text("tlk");
        let parsed = Credential::parse("tlk", text.expose()).unwrap();
        assert_eq!(parsed.id(), credential.id());
        assert!(digest.matches(&parsed));
        assert!(!digest.matches(&Credential::generate()));
    }

    #[test]
    fn a_secret_under_another_id_does_not_match() {
        let credential = Credential::generate();
        let text = credential.to_text("tlk");
        let other = text.expose().replacen(credential.id(), "0123456789abcdef", 1);
        let moved = Credential::parse("tlk", &other).unwrap();
        assert!(!credential.digest().matches(&moved));
    }

    #[test]
    fn malformed_text_is_no_credential() {
        let text = Credential::generate().to_text("tlk");
        let text = text.expose();
        for bad in ["", "tlk", "tlk_", "tlk__", &text[1..], &text[..text.len() - 1], &text.to_uppercase()] {
            assert!(Credential::parse("tlk", bad).is_none(), "{bad}");
        }
        assert!(Credential::parse("tls", text).is_none());
    }
}
