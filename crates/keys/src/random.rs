//! Randomness: the system's generator, and the trait through which pure code receives one.

/// A source of cryptographically strong random bytes, so that code under test can be given a repeatable one.
pub trait Random: Send + Sync {
    /// Fills all of `out`.
    fn fill(&self, out: &mut [u8]);
}

/// The generator of AWS-LC, seeded by the operating system, safe across `fork`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        fill(out);
    }
}

/// `N` fresh random bytes from the system's generator.
pub fn random_array<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}

/// A process that cannot get randomness must not go on: keys and nonces made without it would be worthless.
#[allow(clippy::disallowed_methods, reason = "the one place where randomness comes from")]
pub(crate) fn fill(out: &mut [u8]) {
    aws_lc_rs::rand::fill(out).expect("the operating system's random generator must work");
}
