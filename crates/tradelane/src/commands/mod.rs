//! One file per command.

pub(crate) mod apply;
pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod detokenize;
pub(crate) mod epcis;
pub(crate) mod erase;
pub(crate) mod explain;
pub(crate) mod grants;
pub(crate) mod impact;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod products;
pub(crate) mod publish;
pub(crate) mod quarantine;
pub(crate) mod read;
pub(crate) mod serve;
pub(crate) mod tail;

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use serde_json::Value;

use crate::failure::{Failure, Result};

/// Reads a file, or stdin if it is `-`, up to so many bytes.
pub(crate) fn read_input(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::file(path, error))?;
    if bytes.len() as u64 > most {
        return Err(Failure::no(format!("{}: is larger than {} MiB", path.display(), most >> 20)));
    }
    Ok(bytes)
}

/// Asks a person; a program must have said yes beforehand.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to confirm this").remedy("add --yes"));
    }
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::failed(format!("stdin: {error}")))?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { Err(Failure::no("nothing was done")) }
}

/// The rows of an answer: the array itself, or the one that it holds under this name.
pub(crate) fn rows<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.as_array().or_else(|| answer.get(name).and_then(Value::as_array)).map(Vec::as_slice).unwrap_or_default()
}

/// A member as text: strings as they are, null and nothing as nothing, the rest as JSON.
pub(crate) fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
