//! `tradelane epcis`: validation and event hashes, offline. One line per event.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tradelane_epcis::document;
use tradelane_epcis::hash::document_hashes;
use tradelane_epcis::validate::{MOST_VIOLATIONS, validate};
use tradelane_tape::{Limits, Node, Position, Tape};

use super::read_input;
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone, complain};

/// Larger than the hub takes in one request: these are the user's own files.
const LIMITS: Limits = Limits { max_bytes: 512 << 20, max_depth: 64, max_nodes: Limits::MOST_NODES };
const MAX_DEPTH: usize = 16;
/// Violations told on an event's line; `--json` has all of them.
const TOLD: usize = 3;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Say of each event whether it is valid EPCIS 2.0, and where and by which rule it is not
    Validate {
        /// Documents, query documents, events or lists of events; a folder stands for its .json and .jsonld files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the canonical Event Hash ID (CBV 2.0) of each event
    Hash {
        /// Documents, query documents, events or lists of events; a folder stands for its .json and .jsonld files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(crate) fn run(args: Args, out: Out) -> Result<()> {
    match args {
        Args::Validate { files } => validate_files(&files, out),
        Args::Hash { files } => hash_files(&files, out),
    }
}

/// The files that these paths stand for, folders walked in the order of their names.
pub(crate) fn documents(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { walk(path, 0, &mut files)? } else { files.push(path.clone()) }
    }
    Ok(files)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::file(folder, error))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && depth < MAX_DEPTH {
            walk(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|ext| ext == "json" || ext == "jsonld") {
            files.push(path);
        }
    }
    Ok(())
}

/// One event, or the document around the events.
struct Verdict {
    file: String,
    event: Option<usize>,
    kind: String,
    wrong: Vec<Wrong>,
}

struct Wrong {
    place: String,
    rule: String,
    message: String,
}

fn validate_files(paths: &[PathBuf], out: Out) -> Result<()> {
    let files = documents(paths)?;
    let (mut valid, mut invalid) = (0, 0);
    let mut tape = Tape::new();
    let mut all = Vec::new();
    for file in &files {
        let bytes = read_input(file, LIMITS.max_bytes as u64)?;
        for verdict in verdicts(&mut tape, file, &bytes) {
            if verdict.wrong.is_empty() {
                valid += 1
            } else {
                invalid += 1
            }
            if out.is_json() { all.push(verdict.to_json()) } else { out.line(verdict.line(out)) }
        }
    }
    out.value(&json!({"valid": valid, "invalid": invalid, "events": all}));
    if invalid == 0 {
        return Ok(());
    }
    if out.is_json() {
        return Err(Failure::told());
    }
    Err(Failure::no(format!("{invalid} of {} are not valid", valid + invalid)))
}

fn verdicts(tape: &mut Tape, file: &Path, bytes: &[u8]) -> Vec<Verdict> {
    let name = file.display().to_string();
    let doc = match tape.parse(bytes, &LIMITS) {
        Ok(doc) => doc,
        Err(error) => {
            let Position { line, column, .. } = error.position(bytes);
            let place = format!("line {line}, column {column}");
            let wrong = Wrong { place, rule: "JSON".into(), message: error.reason.text().into() };
            return vec![Verdict { file: name, event: None, kind: "document".into(), wrong: vec![wrong] }];
        }
    };
    let report = validate(doc);
    let kinds = document::events(doc);
    let of = |wanted: Option<usize>| -> Vec<Wrong> {
        let mine = report.violations.iter().filter(|violation| violation.event == wanted);
        mine.map(|violation| Wrong {
            place: violation.place.clone(),
            rule: violation.rule.id().into(),
            message: violation.sentence().into(),
        })
        .collect()
    };
    let kind =
        |node: Node<'_>| node.get("type").and_then(|kind| kind.as_str()).map_or("?".into(), |kind| kind.into_owned());
    let mut verdicts = Vec::new();
    let mut around = of(None);
    if report.truncated {
        let message = format!("more than {MOST_VIOLATIONS} violations: those that are not listed are in later events");
        around.push(Wrong { place: String::new(), rule: "TOO-MANY".into(), message });
    }
    if !around.is_empty() || kinds.is_empty() {
        verdicts.push(Verdict { file: name.clone(), event: None, kind: "document".into(), wrong: around });
    }
    for (index, event) in kinds.iter().enumerate() {
        let (kind, wrong) = (kind(event.node), of(Some(index)));
        verdicts.push(Verdict { file: name.clone(), event: Some(index), kind, wrong });
    }
    verdicts
}

impl Verdict {
    fn line(&self, out: Out) -> String {
        let event = self.event.map(|event| format!("[{event}]")).unwrap_or_default();
        let what = format!("{}{event} {}", self.file, self.kind);
        if self.wrong.is_empty() {
            return format!("{what}: {}", out.paint(Tone::Good, "valid"));
        }
        let one = |wrong: &Wrong| {
            let place = if wrong.place.is_empty() { "/" } else { &wrong.place };
            format!("{} at {place}: {}", out.paint(Tone::Accent, &wrong.rule), wrong.message)
        };
        let told: Vec<String> = self.wrong.iter().take(TOLD).map(one).collect();
        let more = self.wrong.len().saturating_sub(TOLD);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{what}: {} {}{more}", out.paint(Tone::Bad, "invalid"), told.join("; "))
    }

    fn to_json(&self) -> Value {
        let wrong: Vec<Value> = self
            .wrong
            .iter()
            .map(|wrong| json!({"pointer": wrong.place, "rule": wrong.rule, "message": wrong.message}))
            .collect();
        json!({"file": self.file, "event": self.event, "type": self.kind, "valid": wrong.is_empty(), "places": wrong})
    }
}

/// A line is a hash and nothing else, as in the published vectors, so that the output can be compared with them. What is
/// not valid has a hash as well; it is told on stderr, and the exit code says so.
fn hash_files(paths: &[PathBuf], out: Out) -> Result<()> {
    let files = documents(paths)?;
    let mut tape = Tape::new();
    let (mut invalid, mut all) = (0, Vec::new());
    for file in &files {
        let bytes = read_input(file, LIMITS.max_bytes as u64)?;
        let wrong: Vec<Verdict> =
            verdicts(&mut tape, file, &bytes).into_iter().filter(|v| !v.wrong.is_empty()).collect();
        invalid += wrong.len();
        if !out.is_json() {
            wrong.iter().for_each(|verdict| complain(&verdict.line(out)));
        }
        let hashes = tape.parse(&bytes, &LIMITS).map(document_hashes).unwrap_or_default();
        for (index, hash) in hashes.iter().enumerate() {
            out.line(hash);
            all.push(json!({"file": file.display().to_string(), "event": index, "hash": hash}));
        }
    }
    out.value(&json!({"events": all, "invalid": invalid}));
    match invalid {
        0 => Ok(()),
        _ if out.is_json() => Err(Failure::told()),
        _ => Err(Failure::no(format!("{invalid} of {} are not valid", all.len().max(invalid)))),
    }
}
