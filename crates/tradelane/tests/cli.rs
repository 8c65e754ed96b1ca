//! The command line as scripts see it: exit codes and output of the built binary.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn tradelane(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tradelane"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(&tradelane(arguments).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn example(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    root.join(name).canonicalize().unwrap().display().to_string()
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn wrong_use_ends_with_2() {
    for arguments in [&["frobnicate"][..], &["read"], &["apply"], &["explain", "p", "--as", "o"], &["--color", "blue"]]
    {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains("error"), "{stderr}");
    }
    let (code, stdout, _) = run(&["--help"]);
    assert!(code == 0 && stdout.contains("demo") && stdout.contains("epcis"));
}

#[test]
fn a_command_without_a_hub_says_how_to_name_one() {
    let (code, _, stderr) = run(&["products"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("TRADELANE_URL") && stderr.contains("tradelane login"), "{stderr}");
    let (code, stdout, _) = run(&["products", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 2);
    assert!(answer["error"]["message"].is_string());
}

#[test]
fn a_hub_that_is_not_there_ends_with_3() {
    let mut command = tradelane(&["products", "--url", "http://127.0.0.1:9"]);
    let (code, _, stderr) = told(&command.output().unwrap());
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("cannot be reached"));
}

#[test]
fn a_key_is_not_sent_in_clear_over_a_network() {
    let mut command = tradelane(&["products", "--url", "http://hub.example"]);
    let (code, _, stderr) = told(&command.env("TRADELANE_KEY", "tlk_secret").output().unwrap());
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("TLS") && !stderr.contains("tlk_secret"));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let key = file(&folder, "key", "tlk_secret\n");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, stderr) = run(&["products", "--url", "https://localhost:1", "--key-file", key.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(stderr.contains("chmod 600") && !stderr.contains("tlk_secret"), "{stderr}");
}

#[test]
fn a_profile_is_stored_privately_and_shown_without_its_key() {
    let home = tempfile::tempdir().unwrap();
    let with_home = |arguments: &[&str]| {
        let mut command = tradelane(arguments);
        command.env("XDG_CONFIG_HOME", home.path());
        command
    };
    let arguments = ["login", "--no-check", "--url", "https://hub.example", "--profile", "work"];
    let mut child = with_home(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"tlk_secret\n").unwrap();
    assert_eq!(told(&child.wait_with_output().unwrap()).0, 0);
    let stored = home.path().join("tradelane/profiles/work.toml");
    assert_eq!(std::fs::metadata(&stored).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&stored).unwrap().contains("tlk_secret"));
    let (code, stdout, _) = told(&with_home(&["profile", "show", "work"]).output().unwrap());
    assert!(code == 0 && stdout.contains("https://hub.example") && !stdout.contains("tlk_secret"), "{stdout}");
    assert_eq!(told(&with_home(&["profile", "remove", "work"]).output().unwrap()).0, 0);
    assert_eq!(told(&with_home(&["profile", "remove", "work"]).output().unwrap()).0, 1);
}

#[test]
fn the_default_configuration_is_printed_and_passes_its_check() {
    let folder = tempfile::tempdir().unwrap();
    let (code, text, _) = run(&["config", "print-default"]);
    assert_eq!(code, 0);
    let path = file(&folder, "tradelane.toml", &text);
    let (code, stdout, stderr) = run(&["config", "check", "-c", path.to_str().unwrap()]);
    assert!(code == 0 && stdout.contains("127.0.0.1:7443"), "{stdout}{stderr}");
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_with_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("data = 1", "data"),
        ("[tls]\nmode = \"none\"", "none"),
        ("[limits]\nconnections = 0", "limits.connections"),
        ("no toml", "TOML"),
        ("[storage]\npostgress = \"x\"", "postgress"),
        ("root_key = \"data/keys/root.key\"", "root_key"),
    ];
    for (text, named) in cases {
        let path = file(&folder, "tradelane.toml", text);
        for command in [&["config", "check", "-c"][..], &["serve", "-c"]] {
            let arguments = [command, &[path.to_str().unwrap()]].concat();
            let (code, _, stderr) = run(&arguments);
            assert_eq!(code, 1, "{text}: {stderr}");
            assert!(stderr.contains(named), "{text}: {stderr}");
        }
    }
    let (code, _, stderr) = run(&["config", "check", "-c", "/nonexistent/tradelane.toml"]);
    assert!(code == 3 && stderr.contains("print-default"), "{stderr}");
}

#[test]
fn valid_epcis_is_told_event_by_event() {
    let (code, stdout, _) = run(&["epcis", "validate", &example("epcis/acme-shipments.json")]);
    assert_eq!(code, 0);
    assert_eq!(stdout.lines().count(), 6);
    assert!(stdout.lines().all(|line| line.contains("ObjectEvent: valid")), "{stdout}");
}

#[test]
fn invalid_epcis_ends_with_1_and_names_place_and_rule() {
    let (code, stdout, _) = run(&["epcis", "validate", &example("epcis/invalid-shipment.json")]);
    assert_eq!(code, 1);
    assert!(stdout.contains("invalid") && stdout.contains("EPCIS-017"), "{stdout}");
    assert!(stdout.contains("/epcisBody/eventList/0/action"), "{stdout}");
    let (code, stdout, _) = run(&["epcis", "validate", "--json", &example("epcis/invalid-shipment.json")]);
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, answer["invalid"].as_u64()), (1, Some(1)));
    let folder = tempfile::tempdir().unwrap();
    let broken = file(&folder, "broken.json", "{\"a\":\n  ]");
    let (code, stdout, _) = run(&["epcis", "validate", broken.to_str().unwrap()]);
    assert!(code == 1 && stdout.contains("line 2, column 3"), "{stdout}");
}

#[test]
fn hashes_are_printed_as_the_vectors_have_them() {
    let (code, stdout, stderr) = run(&["epcis", "hash", &example("epcis/acme-shipments.json")]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout.lines().count(), 6);
    assert!(
        stdout
            .lines()
            .all(|line| { line.len() == 89 && line.starts_with("ni:///sha-256;") && line.ends_with("?ver=CBV2.0") })
    );
}

#[test]
fn no_colour_reaches_a_pipe_unless_it_is_asked_for() {
    let shipments = example("epcis/acme-shipments.json");
    assert!(!run(&["epcis", "validate", &shipments]).1.contains('\u{1b}'));
    assert!(run(&["--color", "always", "epcis", "validate", &shipments]).1.contains('\u{1b}'));
    assert!(!run(&["--no-color", "epcis", "validate", &shipments]).1.contains('\u{1b}'));
}

#[test]
fn a_log_that_is_none_does_not_verify() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(&["audit", "verify", folder.path().to_str().unwrap(), "--key", "no key"]);
    assert_eq!(code, 2, "{stderr}");
    let receipt = file(&folder, "x.tlog-proof", "not a receipt");
    let key = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    let (code, _, stderr) = run(&["audit", "verify", receipt.to_str().unwrap(), "--key", key]);
    assert_eq!(code, 1, "{stderr}");
    let (code, _, stderr) = run(&["audit", "verify", folder.path().to_str().unwrap(), "--key", key]);
    assert_eq!(code, 1, "{stderr}");
}
