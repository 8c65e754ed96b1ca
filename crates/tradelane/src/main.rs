//! Tradelane's binary: the hub, and every noun of its API from the shell. One file per command.
//!
//! Exit codes: 0 done and the answer is yes; 1 the answer is no, or the input is not valid; 2 used wrongly; 3 a server, a
//! file or the network failed.

mod bench;
mod certificates;
mod client;
mod commands;
mod config;
mod demo;
mod environment;
mod failure;
mod manifests;
mod out;
mod profile;
mod sse;
mod stopwatch;
mod wiring;

use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::{Failure, Result};
use crate::out::Out;
use crate::profile::Connection;

/// Governed data sharing between the organizations of a supply chain
#[derive(Debug, Parser)]
#[command(name = "tradelane", version, max_term_width = 110, propagate_version = true)]
struct Cli {
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    json: bool,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    /// The same as --color never
    #[arg(long, global = true)]
    no_color: bool,
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything in a minute: a hub, four organizations, real events, each partner's view
    Demo(demo::Args),
    /// Run the hub
    Serve(commands::serve::Args),
    /// Check a configuration file, or print the defaults
    #[command(subcommand)]
    Config(commands::config::Args),
    /// Make organizations, products, contracts and grants as YAML files say
    Apply(commands::apply::Args),
    /// Say who would notice a change of contracts, and how
    Impact(commands::impact::Args),
    /// Publish events to a product
    Publish(commands::publish::Args),
    /// Read a product's events as your organization may see them
    Read(commands::read::Args),
    /// Follow a product's events as they come
    Tail(commands::tail::Args),
    /// Show field by field what a partner would see of an event, and why
    Explain(commands::explain::Args),
    /// The catalog: products, their contracts and schemas
    Products(commands::products::Args),
    /// Ask for access, and decide on it
    #[command(subcommand)]
    Grants(commands::grants::Args),
    /// Erase a person: destroy the key of everything that is theirs
    Erase(commands::erase::Args),
    /// Turn a token back into its value, if you may
    Detokenize(commands::detokenize::Args),
    /// Issue, rotate and revoke API keys and client secrets
    #[command(subcommand)]
    Keys(commands::keys::Args),
    /// Events that were withheld, and why
    Quarantine(commands::quarantine::Args),
    /// Proofs: verify the log, fetch receipts, read the trail
    #[command(subcommand)]
    Audit(commands::audit::Args),
    /// Validate and hash EPCIS documents, offline
    #[command(subcommand)]
    Epcis(commands::epcis::Args),
    /// Measure this machine: ratios to a baseline in the same run, beside their targets
    Bench(bench::Args),
    /// Store a hub's address and key as a profile
    Login(commands::login::Args),
    /// Show or remove stored profiles
    #[command(subcommand)]
    Profile(commands::login::ProfileArgs),
}

fn main() -> ExitCode {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { failure::Exit::Usage as u8 } else { 0 });
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(failure::Exit::Usage as u8);
        }
    };
    let out = Out::new(cli.json, if cli.no_color { ColorChoice::Never } else { cli.color });
    // One library for all cryptography; whoever builds a TLS configuration finds it here.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match run(cli, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.told {
                report(&failure, out);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(cli: Cli, out: Out) -> Result<()> {
    let connection = &cli.connection;
    match cli.command {
        Command::Demo(args) => demo::run(args, out),
        Command::Serve(args) => commands::serve::run(args, out),
        Command::Config(args) => commands::config::run(args, out),
        Command::Apply(args) => commands::apply::run(args, connection, out),
        Command::Impact(args) => commands::impact::run(args, connection, out),
        Command::Publish(args) => commands::publish::run(args, connection, out),
        Command::Read(args) => commands::read::run(args, connection, out),
        Command::Tail(args) => commands::tail::run(args, connection, out),
        Command::Explain(args) => commands::explain::run(args, connection, out),
        Command::Products(args) => commands::products::run(args, connection, out),
        Command::Grants(args) => commands::grants::run(args, connection, out),
        Command::Erase(args) => commands::erase::run(args, connection, out),
        Command::Detokenize(args) => commands::detokenize::run(args, connection, out),
        Command::Keys(args) => commands::keys::run(args, connection, out),
        Command::Quarantine(args) => commands::quarantine::run(args, connection, out),
        Command::Audit(args) => commands::audit::run(args, connection, out),
        Command::Epcis(args) => commands::epcis::run(args, out),
        Command::Bench(args) => bench::run(&args, out),
        Command::Login(args) => commands::login::run(args, connection, out),
        Command::Profile(args) => commands::login::profiles(args, out),
    }
}

/// Failures go to stderr; programs get them as JSON on stdout as well, in place of the answer.
fn report(failure: &Failure, out: Out) {
    if out.is_json() {
        out.value(&failure.to_json());
    } else {
        out::complain(&failure.to_string());
    }
}
