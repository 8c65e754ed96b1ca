//! What the tests of the log share.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;

use tradelane_audit::{AuditError, AuditLog, Leaf, Options, Outcome, Recovery, Signer, Word};
use tradelane_keys::{AtRest, SecretBytes, SigningKey};
use tradelane_model::{Class, Timestamp};

pub const ORIGIN: &str = "hub.example/audit";

pub fn signer() -> Signer {
    Signer::new(ORIGIN, SigningKey::from_seed(&SecretBytes::new([1; 32]))).unwrap()
}

pub fn at_rest() -> AtRest {
    AtRest::new(&SecretBytes::new([2; 32]))
}

pub fn open(dir: &Path) -> Result<(AuditLog, Recovery), AuditError> {
    AuditLog::open(dir, signer(), at_rest())
}

pub fn open_with(dir: &Path, options: Options) -> Result<(AuditLog, Recovery), AuditError> {
    AuditLog::open_with(dir, signer(), at_rest(), options)
}

pub fn error(opened: Result<(AuditLog, Recovery), AuditError>) -> AuditError {
    opened.err().expect("the log must not open")
}

/// The nth leaf: carriers read what acme and globex publish, one second apart.
pub fn leaf(n: u64) -> Leaf {
    let owner = if n.is_multiple_of(3) { "globex" } else { "acme" };
    Leaf {
        principal: Some("svc-7".parse().unwrap()),
        owner: Some(owner.parse().unwrap()),
        product: Some(format!("{owner}.stock").parse().unwrap()),
        grant: Some("g-1".parse().unwrap()),
        purpose: Some(Word::literal("delivery")),
        offsets: Some((n * 100, n * 100 + 99)),
        count: 100,
        classes: vec![Class::named("confidential").unwrap()],
        view: Some([7; 32]),
        ..Leaf::new(
            Timestamp(n as i64 * 1_000_000),
            "carrier".parse().unwrap(),
            Word::literal("read"),
            Outcome::Allowed,
        )
    }
}

pub fn leaves(range: std::ops::Range<u64>) -> Vec<Leaf> {
    range.map(leaf).collect()
}

/// Records leaves in groups of the given size.
pub fn record(log: &AuditLog, range: std::ops::Range<u64>, group: usize) {
    for group in leaves(range).chunks(group) {
        log.submit(group).unwrap().wait().unwrap();
    }
}
