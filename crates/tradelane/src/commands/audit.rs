//! `tradelane audit`: proofs. What verifies needs no hub and trusts none: a folder or a receipt, and the log's key.

use std::io;
use std::path::{Path, PathBuf};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tradelane_audit::tiles::all_resources;
use tradelane_audit::verify::MAX_RESOURCE;
use tradelane_audit::{DirSource, Expectations, Leaf, Opening, Receipt, Resource, TileSource, VerifierKey, verify_log};

use super::{read_input, rows, text};
use crate::client::{Client, Send, escape};
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone, remark};
use crate::profile::{Connection, Profile};

const MAX_RECEIPT: u64 = 1 << 20;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Verify a log or a receipt against the log's public key
    ///
    /// A log is a folder (from `audit export`) or a hub's address; every leaf, every tile and the signed root are checked.
    /// A receipt is a .tlog-proof file, checked without any network.
    Verify {
        /// A folder, an https:// address, or a receipt file
        source: String,
        /// The log's key (origin+hash+key), or @FILE that holds it
        #[arg(long, value_name = "VKEY")]
        key: String,
        /// A checkpoint of this log kept from before: the log must have grown from it
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
        /// Receipts that must be of leaves of this log
        #[arg(long, value_name = "FILE")]
        receipt: Vec<PathBuf>,
    },
    /// Fetch the receipt of a leaf in which you have a part
    Receipt {
        /// The leaf's number; every answer of the hub carries it as Tradelane-Receipt
        leaf: u64,
        /// Write it here
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// What is on record about your organization
    Trail {
        /// Of this product only
        #[arg(long)]
        product: Option<String>,
        /// From this time on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Before this time
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Leaves after this one
        #[arg(long, value_name = "LEAF")]
        after: Option<u64>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Copy the public log into a folder, to keep or to verify elsewhere
    Export {
        /// The folder
        folder: PathBuf,
    },
    /// Print the log's public key as the hub says it; compare it with what its operator published
    Key,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    match args {
        Args::Verify { source, key, since, receipt } => {
            let key = log_key(&key)?;
            if source.starts_with("https://") || source.starts_with("http://") {
                let profile = Profile { url: source, key: None, ..with_ca(connection)? };
                let source = HubSource(Client::new(&profile)?);
                return verify(&source, &key, since.as_deref(), &receipt, out);
            }
            let path = Path::new(&source);
            if path.is_dir() {
                return verify(&DirSource::new(path), &key, since.as_deref(), &receipt, out);
            }
            verify_receipt(path, &key, out)
        }
        Args::Receipt { leaf, output } => {
            let client = Client::new(&connection.resolve()?)?;
            let receipt = fetch_receipt(&client, leaf)?;
            match output {
                Some(file) => {
                    std::fs::write(&file, &receipt).map_err(|error| Failure::file(&file, error))?;
                    out.line(format!("receipt of leaf {leaf} in {}", file.display()));
                    out.value(&json!({"leaf": leaf, "file": file}));
                    Ok(())
                }
                None if out.is_json() => {
                    out.value(&json!({"leaf": leaf, "receipt": receipt}));
                    Ok(())
                }
                None => out.raw(receipt.trim_end().as_bytes()),
            }
        }
        Args::Trail { product, from, until, after, limit } => {
            let client = Client::new(&connection.resolve()?)?;
            let mut path = format!("/v1/audit/trail?limit={limit}");
            let after = after.map(|leaf| leaf.to_string());
            for (name, value) in [("product", product), ("from", from), ("until", until), ("after", after)] {
                if let Some(value) = value {
                    path.push_str(&format!("&{name}={}", escape(&value)));
                }
            }
            let answer = client.get(&path)?;
            trail(&answer, out);
            out.value(&answer);
            Ok(())
        }
        Args::Export { folder } => export(&Client::new(&connection.resolve()?)?, &folder, out),
        Args::Key => {
            let key = fetch_text(&Client::new(&connection.resolve()?)?, "/tlog/key")?;
            out.line(key.trim());
            out.value(&json!({"key": key.trim()}));
            Ok(())
        }
    }
}

fn with_ca(connection: &Connection) -> Result<Profile> {
    let ca_pem = match &connection.ca {
        None => None,
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| Failure::file(file, error))?),
    };
    Ok(Profile { ca_pem, ..Profile::default() })
}

/// Reads `VKEY` or `@FILE`.
pub(crate) fn log_key(text: &str) -> Result<VerifierKey> {
    let read = match text.strip_prefix('@') {
        Some(file) => String::from_utf8_lossy(&read_input(Path::new(file), 4_096)?).into_owned(),
        None => text.to_owned(),
    };
    read.trim().parse().map_err(|_| {
        Failure::usage("this is no log key").remedy("it looks like hub.example/audit+1a2b3c4d+AbCd…; see `audit key`")
    })
}

/// The receipt of a leaf, as text.
pub(crate) fn fetch_receipt(client: &Client, leaf: u64) -> Result<String> {
    fetch_text(client, &format!("/v1/audit/receipts/{leaf}"))
}

/// A text that the hub serves.
pub(crate) fn fetch_text(client: &Client, path: &str) -> Result<String> {
    let answer = client.send(Method::GET, path, &Send { accept: Some("text/plain, */*;q=0.1"), ..Send::default() })?;
    String::from_utf8(answer.body).map_err(|_| Failure::failed("the hub answered with something else than text"))
}

fn verify(
    source: &dyn TileSource,
    key: &VerifierKey,
    since: Option<&Path>,
    receipts: &[PathBuf],
    out: Out,
) -> Result<()> {
    let older = since.map(|file| read_text(file, 1 << 16)).transpose()?;
    let openings = receipts.iter().map(|file| opened(file)).collect::<Result<Vec<_>>>()?;
    let bar = out.progress(0, "verifying");
    let expected = Expectations { older: older.as_deref(), openings: &openings };
    let verified = verify_log(source, key, &expected, |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let verified = verified.map_err(|error| {
        out.line(out.paint(Tone::Bad, "the log does NOT verify"));
        Failure::no(error.to_string()).remedy("keep what you have; tell the other partners and the hub's operator")
    })?;
    let size = verified.checkpoint.size;
    out.line(format!("{} {size} leaves of {}", out.paint(Tone::Good, "verified"), verified.checkpoint.origin));
    if let Some(old) = verified.grown_from {
        out.line(format!("  the first {old} are those of the older checkpoint"));
    }
    if verified.openings > 0 {
        out.line(format!("  {} receipts are of leaves of this log", verified.openings));
    }
    out.value(&json!({
        "verified": true, "origin": verified.checkpoint.origin, "leaves": size,
        "root": hex(&verified.checkpoint.root), "grownFrom": verified.grown_from, "receipts": verified.openings,
    }));
    Ok(())
}

fn read_text(file: &Path, most: u64) -> Result<String> {
    String::from_utf8(read_input(file, most)?).map_err(|_| Failure::no(format!("{}: is not text", file.display())))
}

fn parse_receipt(file: &Path) -> Result<Receipt> {
    let text = read_text(file, MAX_RECEIPT)?;
    Receipt::parse(&text).map_err(|error| Failure::no(format!("{}: {error}", file.display())))
}

fn opened(file: &Path) -> Result<(u64, Opening)> {
    parse_receipt(file).map(|receipt| (receipt.index, receipt.opening))
}

fn verify_receipt(file: &Path, key: &VerifierKey, out: Out) -> Result<()> {
    let receipt = parse_receipt(file)?;
    let proven = receipt.verify(key).map_err(|error| {
        out.line(out.paint(Tone::Bad, "the receipt does NOT verify"));
        Failure::no(error.to_string())
    })?;
    let (leaf, size) = (leaf_json(&proven.leaf), proven.checkpoint.size);
    out.line(format!(
        "{} leaf {} is in the log {} of {size} leaves",
        out.paint(Tone::Good, "verified"),
        receipt.index,
        proven.checkpoint.origin
    ));
    for (name, value) in leaf.as_object().into_iter().flatten() {
        out.line(format!("  {name:10} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    out.value(&json!({"verified": true, "index": receipt.index, "leaves": size, "leaf": leaf}));
    Ok(())
}

/// What a leaf says, for people and programs; what it does not say is left out.
pub(crate) fn leaf_json(leaf: &Leaf) -> Value {
    let classes: Vec<&str> = leaf.classes.iter().map(|class| class.as_str()).collect();
    let all = [
        ("time", json!(leaf.time)),
        ("org", json!(leaf.org)),
        ("principal", json!(leaf.principal)),
        ("action", json!(leaf.action.as_str())),
        ("outcome", json!(leaf.outcome.as_str())),
        ("reason", json!(leaf.reason.as_ref().map(|word| word.as_str()))),
        ("product", json!(leaf.product)),
        ("grant", json!(leaf.grant)),
        ("purpose", json!(leaf.purpose.as_ref().map(|word| word.as_str()))),
        ("partition", json!(leaf.partition)),
        ("offsets", json!(leaf.offsets.map(|(first, last)| format!("{first}..{last}")))),
        ("count", if leaf.count == 0 { Value::Null } else { json!(leaf.count) }),
        ("classes", if classes.is_empty() { Value::Null } else { json!(classes.join(", ")) }),
        ("view", json!(leaf.view.as_ref().map(|view| hex(view)))),
    ];
    Value::Object(all.into_iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.to_owned(), v)).collect())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trail(answer: &Value, out: Out) {
    let mut table = out.table(&["leaf", "when", "who", "did", "product", "outcome"]);
    for entry in rows(answer, "entries") {
        let leaf = entry.get("leaf").unwrap_or(&Value::Null);
        let outcome = text(leaf, "outcome");
        let tone = if outcome == "allowed" { Tone::Good } else { Tone::Bad };
        let who = [text(leaf, "org"), text(leaf, "principal")].join("/");
        table.add_row([
            out.cell(Tone::Plain, text(entry, "index")),
            out.cell(Tone::Plain, text(leaf, "time")),
            out.cell(Tone::Plain, who),
            out.cell(Tone::Accent, text(leaf, "action")),
            out.cell(Tone::Plain, text(leaf, "product")),
            out.cell(tone, outcome),
        ]);
    }
    out.print(&table);
    let next = text(answer, "next");
    if !next.is_empty() && !out.is_json() {
        remark(&format!("there is more: --after {next}"));
    }
}

/// The published files of a hub.
#[derive(Debug)]
pub(crate) struct HubSource(pub(crate) Client);

impl TileSource for HubSource {
    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let answer = self.0.exchange(Method::GET, &format!("/tlog/{path}"), &Send::default());
        let answer = answer.map_err(|failure| io::Error::other(failure.to_string()))?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !answer.status.is_success() || answer.body.len() as u64 > MAX_RESOURCE {
            return Err(io::Error::other(format!("{path}: the hub answered {}", answer.status)));
        }
        Ok(Some(answer.body))
    }
}

fn export(client: &Client, folder: &Path, out: Out) -> Result<()> {
    let source = HubSource(client.clone());
    let checkpoint = fetch_text(client, "/tlog/checkpoint")?;
    let key = fetch_text(client, "/tlog/key")?;
    let parsed: VerifierKey = key.trim().parse().map_err(|_| Failure::failed("the hub's log key does not read"))?;
    let size = tradelane_audit::Checkpoint::open(&checkpoint, &parsed)
        .map_err(|error| Failure::no(format!("the hub's checkpoint: {error}")))?
        .size;
    let paths: Vec<String> = all_resources(size).filter(Resource::immutable).map(|resource| resource.path()).collect();
    let bar = out.progress(paths.len() as u64, "exporting");
    for path in &paths {
        let bytes = source.fetch(path).map_err(|error| Failure::failed(error.to_string()))?;
        let bytes = bytes.ok_or_else(|| Failure::failed(format!("the hub has no {path}")))?;
        write(&folder.join(path), &bytes)?;
        bar.inc(1);
    }
    write(&folder.join("checkpoint"), checkpoint.as_bytes())?;
    bar.finish_and_clear();
    out.line(format!(
        "{} {size} leaves in {} files to {}",
        out.paint(Tone::Good, "exported"),
        paths.len() + 1,
        folder.display()
    ));
    if !out.is_json() {
        remark(&format!("verify with: tradelane audit verify {} --key '{}'", folder.display(), key.trim()));
    }
    out.value(&json!({"leaves": size, "files": paths.len() + 1, "folder": folder, "key": key.trim()}));
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let wrong = |error| Failure::file(path, error);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    std::fs::write(path, bytes).map_err(wrong)
}
