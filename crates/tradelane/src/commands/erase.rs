//! `tradelane erase`: destroy the key of one person's data, everywhere at once.

use std::path::Path;

use serde_json::json;

use super::{confirm, read_input, text};
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone, remark};
use crate::profile::Connection;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who: what contracts name as the subject, for example an e-mail address. - reads it from stdin, where no other user
    /// of this machine sees it
    subject: String,
    /// Erase without asking; it cannot be undone
    #[arg(short, long)]
    yes: bool,
}

pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let subject = if args.subject == "-" {
        String::from_utf8_lossy(&read_input(Path::new("-"), 4_096)?).trim().to_owned()
    } else {
        args.subject
    };
    if subject.is_empty() {
        return Err(Failure::usage("no subject was given"));
    }
    confirm("Erase everything of this person, in all products of your organization, for good?", args.yes)?;
    let answer = Client::new(&connection.resolve()?)?.post("/v1/erasures", &json!({ "subject": subject }))?;
    let keys = text(&answer, "keysDestroyed");
    if keys == "0" {
        out.line(out.paint(Tone::Warn, "The hub held nothing of this person."));
    } else {
        out.line(format!("{} keys destroyed: {keys}", out.paint(Tone::Good, "erased")));
    }
    out.line(format!("  commitment {}", text(&answer, "commitment")));
    out.line(format!("  its key    {}", text(&answer, "key")));
    if !out.is_json() {
        remark("Keep both: they prove later who was erased, and the hub keeps only the commitment.");
    }
    out.value(&answer);
    Ok(())
}
