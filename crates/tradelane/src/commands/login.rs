//! `tradelane login` and `tradelane profile`: hubs and keys that later commands use.

use std::io::IsTerminal;
use std::path::Path;

use serde_json::json;

use super::read_input;
use crate::client::Client;
use crate::environment::variable;
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone};
use crate::profile::{self, Connection, DEFAULT, Key, Profile};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Store without asking the hub whether the key works
    #[arg(long)]
    no_check: bool,
}

/// The key comes from --key-file, TRADELANE_KEY or stdin.
pub(crate) fn run(args: Args, connection: &Connection, out: Out) -> Result<()> {
    let name = connection.profile.clone().unwrap_or_else(|| DEFAULT.to_owned());
    let fresh = Connection { profile: None, ..connection.clone() };
    let known = profile::load(&name)?;
    let mut resolved = match (&connection.url, known) {
        (None, Some(known)) => Connection { url: Some(known.url.clone()), ..fresh.clone() }.overlay(known)?,
        _ => fresh.resolve()?,
    };
    if connection.key_file.is_none() && variable("TRADELANE_KEY").is_none() {
        if std::io::stdin().is_terminal() {
            crate::out::remark("Paste the API key and press Enter:");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).map_err(|error| Failure::failed(format!("stdin: {error}")))?;
            resolved.key = Some(Key::new(&line));
        } else {
            let bytes = read_input(Path::new("-"), 4_096)?;
            resolved.key = Some(Key::new(&String::from_utf8_lossy(&bytes)));
        }
    }
    if resolved.key.as_ref().is_none_or(|key| key.expose().is_empty()) {
        return Err(Failure::usage("no key was given").remedy("pipe it in, or use --key-file or TRADELANE_KEY"));
    }
    if !args.no_check {
        Client::new(&resolved)?.get("/v1/products")?;
    }
    let path = profile::save(&name, &resolved)?;
    out.line(format!(
        "{} profile `{name}` for {} in {}",
        out.paint(Tone::Good, "stored"),
        resolved.url,
        path.display()
    ));
    out.value(&json!({"profile": name, "url": resolved.url, "path": path}));
    Ok(())
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ProfileArgs {
    /// The stored profiles
    List,
    /// One profile, without its key
    Show {
        /// Its name
        #[arg(default_value = DEFAULT)]
        name: String,
    },
    /// Forget a profile and its key
    Remove {
        /// Its name
        name: String,
    },
}

pub(crate) fn profiles(args: ProfileArgs, out: Out) -> Result<()> {
    match args {
        ProfileArgs::List => {
            let names = profile::names()?;
            let mut table = out.table(&["profile", "hub"]);
            for name in &names {
                let url = profile::load(name).ok().flatten().map(|p| p.url).unwrap_or_default();
                table.add_row([name, &url]);
            }
            out.print(&table);
            out.value(&json!({ "profiles": names }));
            Ok(())
        }
        ProfileArgs::Show { name } => {
            let Profile { url, ca_pem, key } = profile::load(&name)?.ok_or_else(|| none(&name))?;
            let (ca, key) = (ca_pem.is_some(), key.is_some());
            let said = |has: bool, what: &str| if has { what.to_owned() } else { format!("no {what}") };
            out.line(format!("{url}, {}, {}", said(ca, "authority of its own"), said(key, "key")));
            out.value(&json!({"profile": name, "url": url, "hasCa": ca, "hasKey": key}));
            Ok(())
        }
        ProfileArgs::Remove { name } => {
            if !profile::remove(&name)? {
                return Err(none(&name));
            }
            out.line(format!("removed `{name}`"));
            out.value(&json!({"removed": name}));
            Ok(())
        }
    }
}

fn none(name: &str) -> Failure {
    Failure::no(format!("there is no profile `{name}`")).remedy("`tradelane profile list` shows the profiles")
}
