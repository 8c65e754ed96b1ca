//! House rules that no compiler checks: sizes, headers, arrows between crates, pages that must exist, words that must not.
//!
//! Each test walks the tree as it lies on the disk and names every place that breaks its rule. A rule that gets in the
//! way is changed here, with its reason, not worked around.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A Rust file may have this many lines, tests at its end not counted. Longer ones hold more than one thing.
const LINES: usize = 600;

/// Files that are allowed to be longer: tables, where splitting would hide what is missing.
const LONGER: &[(&str, usize)] = &[("crates/epcis/src/units.rs", 800)];

/// The only files with unsafe code, each described in SECURITY.md.
const UNSAFE: &[&str] = &["crates/seal/src/append.rs", "crates/tape/src/simd.rs"];

/// Which of our crates each crate may name, outside its tests. Arrows point one way.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("tape", &[]),
    ("keys", &[]),
    ("records", &[]),
    ("policy", &["tape", "model"]),
    ("schema", &["tape", "model"]),
    ("encodings", &["tape"]),
    ("registry", &["encodings", "model"]),
    ("epcis", &["tape", "keys", "model"]),
    ("seal", &["encodings", "tape", "keys", "model"]),
    ("audit", &["keys", "model"]),
    ("storage", &["keys", "model"]),
    ("groups", &[]),
    (
        "hub",
        &[
            "policy",
            "seal",
            "schema",
            "registry",
            "encodings",
            "epcis",
            "keys",
            "audit",
            "storage",
            "records",
            "tape",
            "model",
        ],
    ),
    ("transport", &["keys"]),
    ("http", &["hub", "transport", "keys", "model"]),
    ("kafka", &["hub", "groups", "records", "transport", "storage", "keys", "model"]),
    (
        "tradelane",
        &[
            "http",
            "kafka",
            "transport",
            "hub",
            "audit",
            "storage",
            "seal",
            "schema",
            "epcis",
            "policy",
            "keys",
            "tape",
            "model",
        ],
    ),
    ("testkit", &["model"]),
];

/// Libraries that one crate owns, so that the choice can be changed in one place.
const OWNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "keys"),
    ("jsonwebtoken", "keys"),
    ("rcgen", "keys"),
    ("subtle", "keys"),
    ("jsonschema", "schema"),
    ("cedar-policy", "policy"),
    ("cel", "policy"),
    ("rusqlite", "storage"),
    ("tokio-postgres", "storage"),
    ("axum", "http"),
    ("hyper", "http"),
    ("utoipa", "http"),
    ("tokio-rustls", "transport"),
    ("kafka-protocol", "kafka"),
    ("protox", "registry"),
    ("clap", "tradelane"),
];

/// Whole-file reads without a cap, and why each may be.
const UNCAPPED: &[(&str, &str)] = &[
    ("crates/testkit/", "reads what the tests themselves wrote"),
    ("crates/tradelane/src/", "reads files that the person at the shell named, with that person's rights"),
    ("crates/transport/src/tls.rs", "reads certificates out of the operator's own directory"),
    ("crates/transport/src/client.rs", "reads certificates that the operator's configuration names"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/testkit lies two below the root")
        .to_path_buf()
}

/// Every file of the tree that a person wrote, as (path from the root, contents). Binary files are left out.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    assert!(found.len() > 100, "the tree is not where it was expected: {}", root().display());
    found
}

fn walk(directory: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let made_by_tools =
            name.starts_with("target") || matches!(name.as_str(), ".git" | ".venv" | "node_modules" | "corpus");
        if made_by_tools {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("readable").is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.push((path, text));
        }
    }
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// The part of a file before its own tests.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |at| &text[..at])
}

fn is_product_code(path: &str) -> bool {
    path.starts_with("crates/") && path.contains("/src/")
}

fn crates() -> BTreeMap<String, toml::Table> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(root().join("crates")).expect("readable") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(path.join("Cargo.toml")).expect("every crate has a manifest");
        let name = path.file_name().expect("named").to_string_lossy().into_owned();
        all.insert(name, text.parse().expect("manifests are TOML"));
    }
    all
}

fn dependencies<'a>(manifest: &'a toml::Table, section: &str) -> Vec<(&'a String, &'a toml::Value)> {
    manifest.get(section).and_then(toml::Value::as_table).map(|table| table.iter().collect()).unwrap_or_default()
}

fn our_name(dependency: &str) -> Option<&str> {
    if dependency == "tradelane" { Some(dependency) } else { dependency.strip_prefix("tradelane-") }
}

#[track_caller]
fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}\n  {}", broken.join("\n  "));
}

#[test]
fn files_stay_short_enough_to_read() {
    let broken: Vec<_> = rust_files()
        .filter_map(|(path, text)| {
            let most = LONGER.iter().find(|(longer, _)| *longer == path).map_or(LINES, |(_, most)| *most);
            let lines = without_tests(&text).lines().count();
            (lines > most).then(|| format!("{path}: {lines} lines of at most {most}"))
        })
        .collect();
    none(&broken, "A file that is too long holds more than one thing; split it by meaning.");
}

#[test]
fn every_module_says_what_it_is_for() {
    let broken: Vec<_> = rust_files()
        .filter(|(path, text)| !path.starts_with("fuzz/") && !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    none(&broken, "Every Rust file begins with a header (`//!`) that says what it is for and what it does not know.");
}

#[test]
fn nothing_is_left_to_be_done_in_a_comment() {
    // Put together from halves, so that this file does not break its own rule.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["XX", "X:"], ["HA", "CK:"], ["unimple", "mented!("], ["to", "do!("]]
        .map(|halves| halves.concat());
    let broken: Vec<_> = files()
        .into_iter()
        .filter(|(path, _)| {
            !path.ends_with("Cargo.lock") && path != "LICENSE" && !path.ends_with(".svg") && !path.ends_with("go.sum")
        })
        .flat_map(|(path, text)| {
            text.lines()
                .enumerate()
                .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark.as_str())))
                .map(|(at, _)| format!("{path}:{}", at + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    none(&broken, "What is left to do goes to the tracker, and what is unfinished is not merged.");
}

#[test]
fn nothing_speaks_of_one_machine_or_of_how_it_was_written() {
    let private = [
        ["/wo", "rk/"],
        ["/ro", "ot/."],
        ["arti", "factory"],
        ["language ", "model"],
        ["this ", "session"],
        ["the pr", "ompt"],
        ["sub", "agent"],
        ["the hel", "per's"],
    ]
    .map(|halves| halves.concat());
    let broken: Vec<_> = files()
        .into_iter()
        .filter(|(path, _)| !path.ends_with("Cargo.lock") && !path.starts_with("tools/advisories/"))
        .flat_map(|(path, text)| {
            private
                .iter()
                .filter(|word| text.to_lowercase().contains(word.as_str()))
                .map(|word| format!("{path}: `{word}`"))
                .collect::<Vec<_>>()
        })
        .collect();
    none(&broken, "The tree is read on other machines, by people who care what it does, not how it came to be.");
}

#[test]
fn arrows_between_crates_point_one_way() {
    let mut broken = Vec::new();
    for (name, manifest) in crates() {
        let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
            broken.push(format!("crates/{name} is not in the table of arrows"));
            continue;
        };
        for section in ["dependencies", "build-dependencies"] {
            for (dependency, _) in dependencies(&manifest, section) {
                if let Some(ours) = our_name(dependency).filter(|ours| !allowed.contains(ours)) {
                    broken.push(format!("crates/{name} may not depend on crates/{ours}"));
                }
            }
        }
    }
    none(&broken, "listeners -> hub -> {policy, seal, schema, epcis, keys, audit, storage} -> {tape, model}.");
}

#[test]
fn each_library_is_named_by_the_crate_that_owns_it() {
    let mut broken = Vec::new();
    for (name, manifest) in crates() {
        for (dependency, _) in dependencies(&manifest, "dependencies") {
            if let Some((_, owner)) = OWNED.iter().find(|(library, owner)| library == dependency && *owner != name) {
                broken.push(format!("crates/{name} names {dependency}, which is crates/{owner}'s"));
            }
        }
    }
    none(&broken, "Cryptography is named by crates/keys alone, SQL by crates/storage alone, and so on.");
}

#[test]
fn crates_take_versions_and_lints_from_the_workspace() {
    let mut broken = Vec::new();
    for (name, manifest) in crates() {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, value) in dependencies(&manifest, section) {
                let table = value.as_table();
                let inherited =
                    table.and_then(|table| table.get("workspace")).and_then(toml::Value::as_bool) == Some(true);
                // A crate that tests itself with a feature on names itself by path.
                let itself = table.and_then(|table| table.get("path")).and_then(toml::Value::as_str) == Some(".");
                if !inherited && !itself {
                    broken.push(format!("crates/{name}: {dependency} is not `workspace = true`"));
                }
            }
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            broken.push(format!("crates/{name}: no `[lints] workspace = true`"));
        }
    }
    none(&broken, "Versions and lints are decided once, in the root manifest.");
}

#[test]
fn unsafe_code_is_where_the_list_says() {
    let allowed: BTreeSet<&str> = UNSAFE.iter().copied().collect();
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    let (block, permission) = (["unsafe", " {"].concat(), ["allow(unsafe", "_code"].concat());
    for (path, text) in rust_files().filter(|(path, _)| path.starts_with("crates/")) {
        if text.contains(&block) || text.contains(&permission) || text.contains(&["unsafe", " fn"].concat()) {
            seen.insert(path);
        }
    }
    broken.extend(
        seen.iter().filter(|path| !allowed.contains(path.as_str())).map(|path| format!("{path} is not listed")),
    );
    broken.extend(allowed.iter().filter(|path| !seen.contains(**path)).map(|path| format!("{path} has none any more")));
    let security = fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md");
    broken.extend(
        allowed.iter().filter(|path| !security.contains(**path)).map(|path| format!("{path} is not in SECURITY.md")),
    );
    none(&broken, "Unsafe code is rare, listed here, and described in SECURITY.md.");
}

#[test]
fn reads_have_a_cap() {
    let mut broken = Vec::new();
    for (path, text) in rust_files().filter(|(path, _)| is_product_code(path)) {
        if UNCAPPED.iter().any(|(allowed, _)| path.starts_with(allowed)) {
            continue;
        }
        let lines: Vec<&str> = without_tests(&text).lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let whole = line.contains("fs::read(") || line.contains("fs::read_to_string(");
            let method = line.contains(".read_to_end(") || line.contains(".read_to_string(");
            let capped = lines[at.saturating_sub(3)..=at].iter().any(|near| near.contains(".take("));
            if whole || (method && !capped) {
                broken.push(format!("{path}:{}", at + 1));
            }
        }
    }
    none(&broken, "Whoever writes a file or a body may not choose our memory: read through `Read::take`.");
}

#[test]
fn every_error_code_has_its_page() {
    let mut broken = Vec::new();
    for info in tradelane_model::codes::ALL {
        let page = fs::read_to_string(root().join(format!("docs/errors/{}.md", info.slug))).unwrap_or_default();
        if !page.contains(info.code.as_str()) || !page.contains(info.title) {
            broken.push(format!("docs/errors/{}.md does not say what {} means", info.slug, info.code));
        }
    }
    none(&broken, "Each error code has a page that says what was wrong and what to do.");
}

#[test]
fn the_threat_models_tests_exist() {
    let security = fs::read_to_string(root().join("SECURITY.md")).expect("SECURITY.md");
    let mut known = BTreeSet::new();
    for (_, text) in rust_files() {
        known.extend(text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned));
    }
    // Names of tests are sentences; other code in the page has fewer underscores.
    let is_sentence = |word: &str| {
        word.matches('_').count() >= 3 && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let broken: Vec<_> = security
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| is_sentence(word) && !known.contains(*word))
        .map(str::to_owned)
        .collect();
    none(&broken, "SECURITY.md names tests that prove its controls; these are not there.");
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let here = root().join(&path).parent().expect("in a directory").to_path_buf();
        for target in links(&text) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !here.join(file).exists() {
                broken.push(format!("{path}: {target}"));
            }
        }
    }
    none(&broken, "A link that leads nowhere is worse than none.");
}

/// The relative targets of Markdown links outside code blocks.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let mut rest = if in_code { "" } else { line };
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") && !target.starts_with('/') {
                found.push(target);
            }
        }
    }
    found
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).expect("docs/README.md");
    let broken: Vec<_> = files()
        .into_iter()
        .filter_map(|(path, _)| path.strip_prefix("docs/").map(str::to_owned))
        .filter(|page| page.ends_with(".md") && page != "README.md")
        .filter(|page| !page.starts_with("errors/") || page == "errors/README.md")
        .filter(|page| !index.contains(&format!("]({page})")))
        .collect();
    none(&broken, "Pages that docs/README.md does not list are not found by anyone.");
}
