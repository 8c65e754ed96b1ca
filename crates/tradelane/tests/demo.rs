//! The demo end to end, as a newcomer runs it: it checks its own promises, so that its exit code says whether they hold.

use std::path::Path;
use std::process::Command;

fn demo(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tradelane")).arg("demo").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_demo_keeps_its_promises_and_tells_them() {
    let (code, stdout, stderr) = demo(&["--no-color", "--load", "500"]);
    assert_eq!(code, 0, "{stdout}\n{stderr}");
    for line in [
        "A hub, from nothing",
        "Four organizations",
        "nothing to do",
        "The same event, as each partner sees it",
        "only the products it carries",
        "TL-3004",
        "TL-1003",
        "cut off after",
        "One person erased",
        "nothing of the person",
        "A proof, verified without the hub",
        "it proves nothing",
        "Summary",
        "events/s",
    ] {
        assert!(stdout.contains(line), "`{line}` is missing from:\n{stdout}");
    }
}

#[test]
fn the_demo_tells_programs_what_it_found() {
    let (code, stdout, stderr) = demo(&["--json", "--load", "0"]);
    assert_eq!(code, 0, "{stderr}");
    let facts: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(facts["ok"], true);
    let rows = &facts["rowFilter"];
    assert!(rows["distributor"].as_u64().unwrap() < rows["owner"].as_u64().unwrap());
    assert!(facts["erasure"]["keysDestroyed"].as_u64().unwrap() > 0);
    assert_eq!(facts["refusals"].as_array().unwrap().len(), 4);
    assert!(facts["proof"]["logLeaves"].as_u64().unwrap() > 10);
}

#[test]
fn the_demo_runs_on_documents_of_ones_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/epcis");
    let (code, stdout, stderr) = demo(&["--json", "--load", "0", "--input", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{stderr}");
    let facts: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(facts["input"]["files"], 4);
    assert_eq!(facts["input"]["captured"], 16);
    assert!(facts["input"]["refused"].as_u64().unwrap() > 0);
}
