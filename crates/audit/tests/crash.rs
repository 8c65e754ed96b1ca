//! What a crash, a failing disk or a meddler does to the log.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use support::*;
use tradelane_audit::{AuditError, Disk, Expectations, Options, RealDisk, verify_log};

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "seg"));
    files.sort();
    files
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

/// A log of 20 leaves under a checkpoint, followed by a group of 300 that no checkpoint on disk counts.
fn unacknowledged_group() -> (tempfile::TempDir, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..20, 10);
    let segment = segments(dir.path()).remove(0);
    let before = fs::metadata(&segment).unwrap().len();
    let checkpoint = fs::read(dir.path().join("checkpoint")).unwrap();
    record(&log, 20..320, 300);
    let after = fs::metadata(&segment).unwrap().len();
    drop(log);
    fs::write(dir.path().join("checkpoint"), checkpoint).unwrap();
    (dir, before, after)
}

#[test]
fn a_write_torn_at_any_byte_is_cut_off_and_reported() {
    let (dir, before, after) = unacknowledged_group();
    for length in (before + 1..after).step_by(9_973).chain([before + 1, after - 1]) {
        let torn = copy(dir.path());
        OpenOptions::new().write(true).open(&segments(torn.path())[0]).unwrap().set_len(length).unwrap();
        let (log, recovery) = open(torn.path()).unwrap();
        let cut = recovery.torn.clone().expect("the cut is reported");
        assert!(cut.offset >= before && cut.offset + cut.bytes == length);
        assert!([20, 256].contains(&recovery.leaves), "{recovery}");
        let from = recovery.leaves;
        record(&log, from..400, 200);
        verify_log(&log, log.verifier_key(), &Expectations::default(), |_, _| {}).unwrap();
        drop(log);
        assert!(open(torn.path()).unwrap().1.is_clean());
    }
}

#[test]
fn pages_of_the_last_group_that_never_reached_the_disk_are_a_torn_write() {
    let (dir, before, after) = unacknowledged_group();
    // The system may write later pages and lose earlier ones: a hole of zeroes, then valid frames of the same group.
    let segment = OpenOptions::new().write(true).open(&segments(dir.path())[0]).unwrap();
    segment.write_all_at(&vec![0; 4_096.min((after - before) as usize)], before).unwrap();
    let (_, recovery) = open(dir.path()).unwrap();
    assert_eq!((recovery.leaves, recovery.torn.unwrap().offset), (20, before));
}

#[test]
fn a_flipped_bit_in_what_was_acknowledged_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..600, 50);
    drop(log);
    let length = fs::metadata(&segments(dir.path())[0]).unwrap().len();
    for at in (0..length).step_by(3_989).chain([length - 1]) {
        let damaged = copy(dir.path());
        let path = segments(damaged.path()).remove(0);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        match error(open(damaged.path())) {
            AuditError::Corrupt { file, offset, leaf, .. } => {
                assert_eq!(file, path);
                assert!(offset <= at && leaf <= 600 && at - offset < 25_000, "{offset} for {at}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), length, "nothing is cut off");
    }
}

#[test]
fn a_log_that_lost_acknowledged_leaves_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..10, 10);
    let short = fs::metadata(&segments(dir.path())[0]).unwrap().len();
    record(&log, 10..20, 10);
    drop(log);
    let cut = copy(dir.path());
    OpenOptions::new().write(true).open(&segments(cut.path())[0]).unwrap().set_len(short).unwrap();
    assert!(matches!(error(open(cut.path())), AuditError::Shorter { found: 10, signed: 20 }));
    let gone = copy(dir.path());
    fs::remove_file(&segments(gone.path())[0]).unwrap();
    assert!(matches!(error(open(gone.path())), AuditError::Shorter { found: 0, signed: 20 }));
}

#[test]
fn a_missing_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let small = || Options { segment_bytes: 10_000, ..Options::default() };
    let (log, _) = open_with(dir.path(), small()).unwrap();
    record(&log, 0..500, 20);
    drop(log);
    let files = segments(dir.path());
    assert!(files.len() > 3);
    for gone in [0, 1, files.len() - 2] {
        let damaged = copy(dir.path());
        fs::remove_file(&segments(damaged.path())[gone]).unwrap();
        assert!(matches!(error(open_with(damaged.path(), small())), AuditError::Corrupt { .. }));
    }
}

#[test]
fn another_logs_key_or_encryption_key_does_not_open_it() {
    use tradelane_audit::{AuditLog, Signer};
    use tradelane_keys::{AtRest, SecretBytes, SigningKey};
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..10, 10);
    drop(log);
    let stranger = Signer::new(ORIGIN, SigningKey::generate()).unwrap();
    assert!(matches!(error(AuditLog::open(dir.path(), stranger, at_rest())), AuditError::Checkpoint(_)));
    let other = AtRest::new(&SecretBytes::random());
    assert!(matches!(error(AuditLog::open(dir.path(), signer(), other)), AuditError::Corrupt { .. }));
    assert_eq!(open(dir.path()).unwrap().1.leaves, 10);
}

#[test]
fn a_lost_checkpoint_file_is_reported_and_signed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path()).unwrap();
    record(&log, 0..10, 10);
    let checkpoint = log.checkpoint();
    drop(log);
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    let (log, recovery) = open(dir.path()).unwrap();
    assert!(recovery.checkpoint_missing);
    assert_eq!(log.checkpoint(), checkpoint);
}

/// What the disk does next.
#[derive(Clone, Default)]
struct Faults {
    appends_that_fail: Arc<AtomicU32>,
    syncs_that_fail: Arc<AtomicU32>,
}

impl Disk for Faults {
    fn append(&mut self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.appends_that_fail.load(Ordering::Relaxed) > 0 {
            self.appends_that_fail.fetch_sub(1, Ordering::Relaxed);
            // A full disk takes what fits.
            RealDisk.append(file, &bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::from_raw_os_error(28));
        }
        RealDisk.append(file, bytes, offset)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        if self.syncs_that_fail.load(Ordering::Relaxed) > 0 {
            self.syncs_that_fail.fetch_sub(1, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(5));
        }
        RealDisk.sync(file)
    }
}

#[test]
fn a_full_disk_refuses_records_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let (log, _) = open_with(dir.path(), Options { disk: Box::new(faults.clone()), ..Options::default() }).unwrap();
    record(&log, 0..10, 10);
    faults.appends_that_fail.store(2, Ordering::Relaxed);
    for _ in 0..2 {
        let refused = log.submit(&leaves(10..400)).unwrap().wait();
        assert!(matches!(refused, Err(AuditError::Write(_))));
        assert_eq!((log.size(), log.is_writable()), (10, true));
    }
    record(&log, 10..400, 390);
    verify_log(&log, log.verifier_key(), &Expectations::default(), |_, _| {}).unwrap();
    drop(log);
    let (_, recovery) = open(dir.path()).unwrap();
    assert_eq!((recovery.leaves, recovery.is_clean()), (400, true));
}

#[test]
fn after_a_failed_sync_nothing_is_recorded_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let (log, _) = open_with(dir.path(), Options { disk: Box::new(faults.clone()), ..Options::default() }).unwrap();
    record(&log, 0..10, 10);
    faults.syncs_that_fail.store(1, Ordering::Relaxed);
    for _ in 0..2 {
        assert!(matches!(log.submit(&[leaf(10)]).unwrap().wait(), Err(AuditError::Poisoned)));
        assert!(!log.is_writable());
    }
    assert_eq!((log.size(), log.opening(9).unwrap().leaf().unwrap()), (10, leaf(9)));
    drop(log);
    let (log, recovery) = open(dir.path()).unwrap();
    assert_eq!((recovery.leaves, recovery.beyond_checkpoint), (11, 1));
    record(&log, 11..12, 1);
}

const CHILD: &str = "TRADELANE_AUDIT_CHILD_DIR";

/// Not a test of its own: what the crash tests run in a process that they kill.
#[test]
#[expect(clippy::disallowed_methods, reason = "how the parent process tells its child what to do")]
fn child_that_records_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (log, _) = open_with(Path::new(&dir), Options { segment_bytes: 100_000, ..Options::default() }).unwrap();
    let mut out = io::stdout();
    let mut n = log.size();
    loop {
        let group = 1 + n % 37;
        match log.submit(&leaves(n..n + group)).unwrap().wait() {
            Ok(indices) => {
                n = indices.end;
                writeln!(out, "acknowledged {n}").unwrap();
            }
            Err(error) => {
                writeln!(out, "refused {error}").unwrap();
                return;
            }
        }
    }
}

fn child(dir: &Path, shell: &str) -> std::process::Child {
    let test = std::env::current_exe().unwrap();
    let run = format!("{shell} exec '{}' --exact child_that_records_until_it_is_killed --nocapture", test.display());
    Command::new("sh").args(["-c", &run]).env(CHILD, dir).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn killed_again_and_again_it_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut older: Option<String> = None;
    for round in 0..12 {
        let mut child = child(dir.path(), "");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wanted = 10 + round * 5;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("acknowledged ") {
                acknowledged = n.parse().unwrap();
                wanted -= 1;
                if wanted == 0 {
                    break;
                }
            }
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            acknowledged = line.strip_prefix("acknowledged ").and_then(|n| n.parse().ok()).unwrap_or(acknowledged);
        }
        child.wait().unwrap();
        let (log, recovery) = open(dir.path()).unwrap();
        assert!(recovery.leaves >= acknowledged, "{recovery}, {acknowledged} acknowledged");
        let expected = Expectations { older: older.as_deref(), openings: &[] };
        verify_log(&log, log.verifier_key(), &expected, |_, _| {}).unwrap();
        for index in (0..log.size()).step_by(97) {
            assert_eq!(log.opening(index).unwrap().leaf().unwrap(), leaf(index));
        }
        older = Some(log.checkpoint().to_string());
    }
    assert!(acknowledged > 1_000);
}

#[test]
fn out_of_room_on_a_real_file_it_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    // The shell forbids files above 40 KiB (80 blocks) and ignores the signal: writes fail as on a full disk.
    let mut child = child(dir.path(), "ulimit -f 80; trap '' XFSZ;");
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).collect();
    child.wait().unwrap();
    assert!(lines.iter().any(|line| line.starts_with("refused ")), "{lines:?}");
    let last = lines.iter().rev().find_map(|line| line.strip_prefix("acknowledged ")).unwrap().parse().unwrap();
    let (log, recovery) = open(dir.path()).unwrap();
    assert_eq!((recovery.leaves, recovery.torn), (last, None));
    record(&log, last..last + 100, 100);
}
