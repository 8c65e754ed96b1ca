//! What offline verification catches, and how exactly it says so.

mod support;

use std::fs;
use std::path::Path;

use support::*;
use tradelane_audit::{AuditLog, DirSource, Expectations, Opening, VerifierKey, VerifyError, verify_log};

struct Exported {
    dir: tempfile::TempDir,
    older: String,
    key: VerifierKey,
    openings: Vec<(u64, Opening)>,
}

fn exported() -> Exported {
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path()).unwrap();
    record(&log, 0..300, 100);
    let older = log.checkpoint().to_string();
    record(&log, 300..900, 100);
    let openings = [5, 299, 899].map(|index| (index, log.opening(index).unwrap())).to_vec();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(log.export(dir.path(), |_| {}).unwrap(), 1 + 4 + 4 + 1);
    Exported { dir, older, key: log.verifier_key().clone(), openings }
}

impl Exported {
    fn verify(&self) -> Result<tradelane_audit::verify::Verified, VerifyError> {
        let expected = Expectations { older: Some(&self.older), openings: &self.openings };
        verify_log(&DirSource::new(self.dir.path()), &self.key, &expected, |_, _| {})
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = self.dir.path().join(path);
        let mut bytes = fs::read(&file).unwrap();
        change(&mut bytes);
        fs::write(file, bytes).unwrap();
    }
}

/// Replaces a log by another with the same key: what an operator with the signing key could do.
fn forge(dir: &Path, leaves: std::ops::Range<u64>) -> AuditLog {
    let (log, _) = open(dir).unwrap();
    record(&log, leaves, 100);
    log
}

#[test]
fn an_exported_log_verifies_with_its_key_alone() {
    let verified = exported().verify().unwrap();
    assert_eq!((verified.checkpoint.size, verified.grown_from, verified.openings), (900, Some(300), 3));
}

#[test]
fn a_changed_leaf_is_named() {
    let log = exported();
    log.change("tile/entries/001", |bytes| bytes[34 * 7 + 20] ^= 1);
    assert!(matches!(log.verify(), Err(VerifyError::Changed(263))));
}

#[test]
fn a_removed_leaf_is_named() {
    let log = exported();
    log.change("tile/entries/002", |bytes| {
        bytes.drain(34 * 10..34 * 11);
    });
    assert!(matches!(log.verify(), Err(VerifyError::Removed(522))));
    let log = exported();
    log.change("tile/entries/003.p/132", |bytes| bytes.truncate(34 * 131));
    assert!(matches!(log.verify(), Err(VerifyError::Removed(899))));
    let log = exported();
    // Removed and the gap closed with a new leaf at the end of the bundle.
    log.change("tile/entries/000", |bytes| {
        bytes.drain(34 * 3..34 * 4);
        bytes.extend_from_slice(&[0, 32]);
        bytes.extend_from_slice(&[9; 32]);
    });
    assert!(matches!(log.verify(), Err(VerifyError::Removed(3))));
}

#[test]
fn reordered_leaves_are_named() {
    let log = exported();
    log.change("tile/entries/000", |bytes| {
        let (a, b) = bytes.split_at_mut(34 * 100);
        a[34 * 40..34 * 41].swap_with_slice(&mut b[..34]);
    });
    assert!(matches!(log.verify(), Err(VerifyError::Reordered { index: 40, logged: 100 })));
    let log = exported();
    log.change("tile/entries/000", |bytes| {
        let (a, b) = bytes.split_at_mut(34 * 41);
        a[34 * 40..].swap_with_slice(&mut b[..34]);
    });
    assert!(matches!(log.verify(), Err(VerifyError::Reordered { index: 40, logged: 41 })));
}

#[test]
fn an_inserted_leaf_is_named() {
    let log = exported();
    log.change("tile/entries/001", |bytes| {
        bytes.truncate(34 * 255);
        let inserted = [&[0, 32][..], &[9; 32]].concat();
        bytes.splice(34 * 50..34 * 50, inserted);
    });
    assert!(matches!(log.verify(), Err(VerifyError::Inserted(306))));
}

#[test]
fn tiles_changed_along_with_their_entries_still_do_not_fit_above() {
    let log = exported();
    log.change("tile/entries/001", |bytes| bytes[34 * 7 + 20] ^= 1);
    let entry = fs::read(log.dir.path().join("tile/entries/001")).unwrap()[34 * 7 + 2..34 * 8].to_vec();
    let hash = tradelane_audit::merkle::leaf_hash(&entry);
    log.change("tile/0/001", |bytes| bytes[32 * 7..32 * 8].copy_from_slice(&hash));
    match log.verify() {
        Err(VerifyError::Tile { path, first, last }) => {
            assert_eq!((path.as_str(), first, last), ("tile/0/001", 256, 511))
        }
        other => panic!("{other:?}"),
    }
    let log = exported();
    log.change("tile/entries/003.p/132", |bytes| bytes[34 * 7 + 20] ^= 1);
    let entry = fs::read(log.dir.path().join("tile/entries/003.p/132")).unwrap()[34 * 7 + 2..34 * 8].to_vec();
    let hash = tradelane_audit::merkle::leaf_hash(&entry);
    log.change("tile/0/003.p/132", |bytes| bytes[32 * 7..32 * 8].copy_from_slice(&hash));
    assert!(matches!(log.verify(), Err(VerifyError::Root { size: 900 })));
}

#[test]
fn a_changed_checkpoint_or_a_strangers_is_refused() {
    let log = exported();
    log.change("checkpoint", |bytes| {
        *bytes = String::from_utf8(bytes.clone()).unwrap().replacen("900", "899", 1).into()
    });
    assert!(matches!(log.verify(), Err(VerifyError::Checkpoint(_))));
    let log = exported();
    let stranger = VerifierKey::of_log(ORIGIN, [3; 32]).unwrap();
    let refused = verify_log(&DirSource::new(log.dir.path()), &stranger, &Expectations::default(), |_, _| {});
    assert!(matches!(refused, Err(VerifyError::Checkpoint(_))));
}

#[test]
fn missing_and_malformed_files_are_named() {
    let log = exported();
    fs::remove_file(log.dir.path().join("tile/0/001")).unwrap();
    assert!(matches!(log.verify(), Err(VerifyError::Missing { path, first: 256, last: 511 }) if path == "tile/0/001"));
    let log = exported();
    log.change("tile/0/001", |bytes| bytes.truncate(8_191));
    assert!(matches!(log.verify(), Err(VerifyError::Form { .. })));
    let log = exported();
    log.change("tile/entries/001", |bytes| bytes.truncate(34 * 50 + 1));
    assert!(matches!(log.verify(), Err(VerifyError::Form { .. })));
}

#[test]
fn a_rewritten_history_under_the_right_key_does_not_continue_the_old_one() {
    let log = exported();
    let home = tempfile::tempdir().unwrap();
    let forged = forge(home.path(), 0..900);
    let expected = Expectations { older: Some(&log.older), openings: &[] };
    let refused = verify_log(&forged, &log.key, &expected, |_, _| {});
    assert!(matches!(refused, Err(VerifyError::Inconsistent { old: 300, size: 900 })));
    let short = tempfile::tempdir().unwrap();
    let refused = verify_log(&forge(short.path(), 0..100), &log.key, &expected, |_, _| {});
    assert!(matches!(refused, Err(VerifyError::Inconsistent { old: 300, size: 100 })));
}

#[test]
fn a_record_that_the_log_did_not_commit_to_is_named() {
    let mut log = exported();
    log.openings[1].1.body = b"{}".to_vec();
    assert!(matches!(log.verify(), Err(VerifyError::Opening(299))));
    let mut log = exported();
    log.openings[2].0 = 900;
    assert!(matches!(log.verify(), Err(VerifyError::NoSuchLeaf { index: 900, size: 900 })));
}
