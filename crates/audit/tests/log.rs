//! A log records, proves, serves and answers.

mod support;

use support::*;
use tradelane_audit::merkle::{verify_consistency, verify_inclusion};
use tradelane_audit::{
    AuditError, Checkpoint, Expectations, Filter, Options, Receipt, ReceiptError, VerifierKey, verify_log,
};
use tradelane_keys::{SecretBytes, SigningKey};
use tradelane_model::Timestamp;

#[test]
fn an_empty_log_is_signed_and_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovery) = open(dir.path()).unwrap();
    assert!(recovery.is_clean());
    let verified = verify_log(&log, log.verifier_key(), &Expectations::default(), |_, _| {}).unwrap();
    assert_eq!(verified.checkpoint.size, 0);
}

#[test]
fn recorded_leaves_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..700, 33);
    let checkpoint = log.checkpoint();
    drop(log);
    let (log, recovery) = open(dir.path()).unwrap();
    assert!(recovery.is_clean(), "{recovery}");
    assert_eq!((recovery.leaves, recovery.scanned), (700, 700));
    assert_eq!(log.checkpoint(), checkpoint);
    for index in [0, 32, 33, 255, 256, 511, 699] {
        assert_eq!(log.opening(index).unwrap().leaf().unwrap(), leaf(index));
    }
    assert!(matches!(log.opening(700), Err(AuditError::NoLeaf(700))));
}

#[test]
fn every_leaf_has_a_receipt_that_verifies_offline() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..600, 100);
    let key: VerifierKey = log.verifier_key().to_string().parse().unwrap();
    for index in (0..600).step_by(7) {
        let text = log.receipt(index).unwrap().to_text();
        let proven = Receipt::parse(&text).unwrap().verify(&key).unwrap();
        assert_eq!((proven.leaf, proven.checkpoint.size), (leaf(index), 600));
    }
}

#[test]
fn a_receipt_for_another_leaf_place_or_log_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..300, 300);
    let key = log.verifier_key();
    let good = log.receipt(17).unwrap();
    let not_included = |receipt: &Receipt| matches!(receipt.verify(key), Err(ReceiptError::NotIncluded { .. }));
    assert!(not_included(&Receipt { index: 18, ..good.clone() }));
    assert!(not_included(&Receipt { opening: log.opening(18).unwrap(), ..good.clone() }));
    let mut salted = good.clone();
    salted.opening.salt[0] ^= 1;
    assert!(not_included(&salted));
    let mut cut = good.clone();
    cut.path.pop();
    assert!(not_included(&cut));
    let stranger = VerifierKey::of_log(ORIGIN, SigningKey::from_seed(&SecretBytes::new([9; 32])).public_key()).unwrap();
    assert!(matches!(good.verify(&stranger), Err(ReceiptError::Checkpoint(_))));
    for text in ["", "c2sp.org/tlog-proof@v1\n\n", &good.to_text().replace("index 17", "index 017")] {
        assert!(Receipt::parse(text).is_err());
    }
}

#[test]
fn proofs_hold_between_all_sizes_that_were_signed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    let mut signed = vec![];
    for size in [1u64, 2, 255, 256, 257, 511, 512, 700] {
        let from = log.size();
        record(&log, from..size, 1_000);
        signed.push(Checkpoint::open(&log.checkpoint(), log.verifier_key()).unwrap());
    }
    for (at, new) in signed.iter().enumerate() {
        assert_eq!(log.root_at(new.size).unwrap(), new.root);
        for old in &signed[..=at] {
            let proof = log.consistency_proof(old.size, new.size).unwrap();
            assert!(verify_consistency(old.size, &old.root, new.size, &new.root, &proof));
        }
        let index = new.size / 2;
        let path = log.inclusion_proof(index, new.size).unwrap();
        let leaf = tradelane_audit::merkle::leaf_hash(&log.opening(index).unwrap().commitment());
        assert!(verify_inclusion(&leaf, index, new.size, &path, &new.root));
    }
    assert!(log.consistency_proof(1, 701).is_err());
}

#[test]
fn tiles_of_every_signed_size_are_served_and_nothing_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..600, 50);
    let length = |path: &str| log.serve(path).unwrap().map(|bytes| bytes.len());
    assert_eq!(length("tile/0/000"), Some(8_192));
    assert_eq!(length("tile/0/001.p/17"), Some(17 * 32));
    assert_eq!(length("tile/0/002.p/88"), Some(88 * 32));
    assert_eq!(length("tile/1/000.p/2"), Some(64));
    assert_eq!(length("tile/entries/002.p/88"), Some(88 * 34));
    assert_eq!(length("tile/entries/000"), Some(256 * 34));
    for path in [
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/1/000",
        "tile/1/000.p/3",
        "tile/2/000.p/1",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "x",
    ] {
        assert_eq!(length(path), None, "{path}");
    }
}

#[test]
fn what_is_served_tells_nothing_of_a_leaf() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..300, 300);
    let mut public = vec![];
    for path in ["checkpoint", "tile/0/000", "tile/entries/000", "tile/entries/001.p/44"] {
        public.extend(log.serve(path).unwrap().unwrap());
    }
    drop(log);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        public.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    for word in ["carrier", "acme", "globex", "delivery", "svc-7", "confidential"] {
        assert!(!public.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
}

#[test]
fn an_auditor_pages_through_what_a_filter_lets_pass() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..1_000, 64);
    let all = |filter: Filter| {
        let (mut found, mut start) = (vec![], Some(filter.start));
        while let Some(at) = start {
            let page = log.query(&Filter { start: at, ..filter.clone() }).unwrap();
            found.extend(page.leaves.into_iter().map(|(index, _)| index));
            start = page.next;
        }
        found
    };
    let globex = Filter { org: Some("globex".parse().unwrap()), limit: 10, ..Filter::default() };
    assert_eq!(all(globex.clone()), (0..1_000).step_by(3).collect::<Vec<u64>>());
    assert_eq!(log.query(&globex).unwrap().leaves.len(), 10);
    let times = Filter { from: Some(Timestamp(500_000_000)), to: Some(Timestamp(510_000_000)), ..Filter::default() };
    assert_eq!(all(times), (500..510).collect::<Vec<u64>>());
    let range =
        Filter { start: 250, end: Some(260), product: Some("acme.stock".parse().unwrap()), ..Filter::default() };
    assert_eq!(all(range), [250, 251, 253, 254, 256, 257, 259]);
    assert!(all(Filter { org: Some("nobody".parse().unwrap()), ..Filter::default() }).is_empty());
    assert_eq!(all(Filter::default()).len(), 1_000);
}

#[test]
fn many_small_segments_read_as_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options { segment_bytes: 20_000, ..Options::default() };
    let (log, _) = open_with(dir.path(), small()).unwrap();
    record(&log, 0..2_000, 17);
    let checkpoint = log.checkpoint().to_string();
    drop(log);
    // Once through all leaves, once through index and signed root.
    for scan_all_below in [u64::MAX, 0] {
        let (log, recovery) = open_with(dir.path(), Options { scan_all_below, ..small() }).unwrap();
        assert!(recovery.is_clean(), "{recovery}");
        assert_eq!(recovery.scanned < 1_000, scan_all_below == 0, "{recovery}");
        assert_eq!(*log.checkpoint(), *checkpoint);
        for index in (0..2_000).step_by(111) {
            assert_eq!(log.receipt(index).unwrap().verify(log.verifier_key()).unwrap().leaf, leaf(index));
        }
        verify_log(&log, log.verifier_key(), &Expectations::default(), |_, _| {}).unwrap();
    }
    let (log, _) = open_with(dir.path(), Options { scan_all_below: 0, ..small() }).unwrap();
    record(&log, 2_000..3_000, 100);
    let older = Expectations { older: Some(&checkpoint), openings: &[] };
    let verified = verify_log(&log, log.verifier_key(), &older, |_, _| {}).unwrap();
    assert_eq!((verified.checkpoint.size, verified.grown_from), (3_000, Some(2_000)));
}

#[test]
fn a_wrong_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options { segment_bytes: 20_000, scan_all_below: 0, ..Options::default() };
    let (log, _) = open_with(dir.path(), small()).unwrap();
    record(&log, 0..2_000, 100);
    let checkpoint = log.checkpoint();
    drop(log);
    let index = dir.path().join("index");
    let good = std::fs::read(&index).unwrap();
    for wrong in [vec![0; good.len()], vec![], [&good[56..], &good[..56]].concat(), vec![0xFF; 10_000]] {
        std::fs::write(&index, wrong).unwrap();
        let (log, recovery) = open_with(dir.path(), small()).unwrap();
        assert_eq!(recovery.scanned, 2_000);
        assert_eq!(log.checkpoint(), checkpoint);
        drop(log);
        assert_eq!(std::fs::read(&index).unwrap(), good);
    }
}

#[test]
fn a_witness_line_is_served_until_the_next_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..3, 3);
    let witness = SigningKey::from_seed(&SecretBytes::new([5; 32]));
    let key = VerifierKey::of_witness("witness.example", witness.public_key()).unwrap();
    let text = Checkpoint::open(&log.checkpoint(), log.verifier_key()).unwrap().text();
    let line = tradelane_audit::note::cosign("witness.example", &witness, 1_700_000_000, &text).unwrap();
    log.add_cosignature(&line, &key).unwrap();
    assert!(log.checkpoint().ends_with(&line));
    assert!(log.receipt(1).unwrap().verify(log.verifier_key()).is_ok());
    record(&log, 3..4, 1);
    assert!(!log.checkpoint().contains("witness.example"));
    assert!(log.add_cosignature(&line, &key).is_err(), "it is of an older tree");
    assert!(!log.checkpoint().contains("witness.example"));
}

#[test]
fn two_processes_cannot_write_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, _) = open(dir.path()).unwrap();
    assert!(matches!(error(open(dir.path())), AuditError::Locked));
}

#[test]
fn a_closed_log_refuses_and_what_was_submitted_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    let pending: Vec<_> = (0..50).map(|n| log.submit(&[leaf(n)]).unwrap()).collect();
    log.close();
    for (n, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.wait().unwrap(), n as u64..n as u64 + 1);
    }
    assert!(matches!(log.submit(&[leaf(0)]), Err(AuditError::Closed)));
    drop(log);
    assert_eq!(open(dir.path()).unwrap().1.leaves, 50);
}

#[tokio::test]
async fn callers_side_by_side_get_their_own_indices() {
    let dir = tempfile::tempdir().unwrap();
    let log = std::sync::Arc::new(open(dir.path()).unwrap().0);
    let tasks: Vec<_> = (0..64u64)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { (n, log.record(leaf(n)).await.unwrap()) })
        })
        .collect();
    for task in tasks {
        let (n, index) = task.await.unwrap();
        assert_eq!(log.opening(index).unwrap().leaf().unwrap(), leaf(n));
    }
    assert_eq!(log.size(), 64);
    assert!(log.record_many(&[]).await.is_err());
}
