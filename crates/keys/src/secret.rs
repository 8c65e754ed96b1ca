//! Secret bytes that wipe themselves and never print.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// `N` secret bytes: wiped when dropped, compared in constant time, never shown by `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes<const N: usize>([u8; N]);

impl<const N: usize> SecretBytes<N> {
    /// Wraps bytes that the caller already holds. The caller's own copy is the caller's to wipe.
    pub fn new(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// `None` unless `bytes` is exactly `N` long.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Fresh bytes from the system's generator.
    pub fn random() -> Self {
        let mut bytes = [0; N];
        crate::random::fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes themselves. Every call is a place to look at in a review.
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> PartialEq for SecretBytes<N> {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl<const N: usize> Eq for SecretBytes<N> {}

impl<const N: usize> std::fmt::Debug for SecretBytes<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretBytes<{N}>(..)")
    }
}

/// Compares in time that depends on the lengths only.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself() {
        let secret = SecretBytes::new([0xAB; 4]);
        assert_eq!(format!("{secret:?}"), "SecretBytes<4>(..)");
    }

    #[test]
    fn two_random_secrets_differ() {
        assert!(SecretBytes::<32>::random() != SecretBytes::<32>::random());
    }

    #[test]
    fn a_slice_of_another_length_is_no_secret() {
        assert!(SecretBytes::<32>::from_slice(&[0; 31]).is_none());
        assert!(SecretBytes::<32>::from_slice(&[0; 32]).is_some());
    }
}
