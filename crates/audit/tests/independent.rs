//! The Go checksum database's libraries agree with this crate: they confirm what holds and catch what does not.
//!
//! Skipped, loudly, where Go or its module is not to be had; `TRADELANE_REQUIRE_SERVERS=1` makes that a failure.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::*;

/// Builds the verifier into `out`; `None` if this machine cannot.
#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not of the product")]
fn build(out: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/independent/verify_audit");
    let program = out.join("verify_audit");
    let built = Command::new("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(source).output();
    let why = match built {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    assert!(std::env::var("TRADELANE_REQUIRE_SERVERS").as_deref() != Ok("1"), "the Go verifier does not build: {why}");
    eprintln!("SKIPPED: the independent audit verifier was not run, because it does not build here: {why}");
    None
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_independent_verifier_confirms_the_log_and_catches_what_was_done_to_it() {
    let work = tempfile::tempdir().unwrap();
    let Some(program) = build(work.path()) else { return };
    let home = tempfile::tempdir().unwrap();
    let (log, _) = open(home.path()).unwrap();
    record(&log, 0..300, 100);
    let older = work.path().join("older");
    fs::write(&older, log.checkpoint().as_bytes()).unwrap();
    record(&log, 300..900, 100);
    let receipts = [0, 255, 256, 899].map(|index| {
        let file = work.path().join(format!("{index}.tlog-proof"));
        fs::write(&file, log.receipt(index).unwrap().to_text()).unwrap();
        file
    });
    let verify = |change: &dyn Fn(&Path)| {
        let export = tempfile::tempdir().unwrap();
        log.export(export.path(), |_| {}).unwrap();
        change(export.path());
        let mut command = Command::new(&program);
        command.arg("-dir").arg(export.path()).arg("-key").arg(log.verifier_key().to_string());
        command.arg("-older").arg(&older);
        for receipt in &receipts {
            command.arg("-receipt").arg(receipt);
        }
        command.output().unwrap()
    };
    let edit = |dir: &Path, path: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(dir.join(path)).unwrap();
        change(&mut bytes);
        fs::write(dir.join(path), bytes).unwrap();
    };

    let good = verify(&|_| {});
    assert!(good.status.success(), "{}", text(&good));
    let said = text(&good);
    assert!(said.contains("900 leaves included"), "{said}");
    assert!(said.contains("consistent with the older checkpoint of 300"), "{said}");
    assert!(said.contains("receipt of leaf 899 holds: {\"action\":\"read\""), "{said}");

    let changed = verify(&|dir| edit(dir, "tile/entries/001", &|bytes| bytes[34 * 7 + 20] ^= 1));
    assert!(
        !changed.status.success() && text(&changed).contains("leaf 263 is not the one that was logged"),
        "{}",
        text(&changed)
    );
    let removed = verify(&|dir| {
        edit(dir, "tile/entries/002", &|bytes| {
            bytes.drain(34 * 10..34 * 11);
        });
    });
    assert!(!removed.status.success(), "{}", text(&removed));
    let reordered = verify(&|dir| {
        edit(dir, "tile/entries/000", &|bytes| {
            let (a, b) = bytes.split_at_mut(34 * 100);
            a[34 * 40..34 * 41].swap_with_slice(&mut b[..34]);
        });
    });
    assert!(!reordered.status.success() && text(&reordered).contains("leaf 40 is not"), "{}", text(&reordered));
    let retiled = verify(&|dir| edit(dir, "tile/0/002", &|bytes| bytes[0] ^= 1));
    assert!(!retiled.status.success(), "{}", text(&retiled));
    let unsigned = verify(&|dir| {
        edit(dir, "checkpoint", &|bytes| {
            let at = bytes.len() - 10;
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        })
    });
    assert!(!unsigned.status.success() && text(&unsigned).contains("checkpoint"), "{}", text(&unsigned));
}
