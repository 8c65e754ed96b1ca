//! `tradelane config`: is the file right, and what may be in it.

use std::path::PathBuf;

use serde_json::json;

use crate::config::Config;
use crate::failure::Result;
use crate::out::{Out, Tone};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Read the file and the environment as `serve` would, and say what is wrong
    Check {
        /// The configuration file
        #[arg(short, long, env = "TRADELANE_CONFIG", value_name = "FILE", default_value = "tradelane.toml")]
        config: PathBuf,
    },
    /// Print a file with every setting, its default and its meaning
    PrintDefault,
}

pub(crate) fn run(args: Args, out: Out) -> Result<()> {
    match args {
        Args::Check { config } => {
            let read = Config::load(&config)?;
            out.line(format!("{} {}", out.paint(Tone::Good, "ok"), config.display()));
            out.line(format!("  listens on {}, data in {}", read.listen.address, read.data.display()));
            out.value(&json!({"ok": true, "listen": read.listen.address, "data": read.data}));
            Ok(())
        }
        Args::PrintDefault => out.raw(Config::default_text().trim_end().as_bytes()),
    }
}
