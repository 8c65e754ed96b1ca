//! `tradelane serve`: the hub, until it is told to stop.

use std::path::PathBuf;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, Log, LogFormat};
use crate::failure::{Failure, Result};
use crate::out::{Out, Tone, remark};
use crate::profile::write_private;
use crate::wiring::{self, Started};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration file
    #[arg(short, long, env = "TRADELANE_CONFIG", value_name = "FILE", default_value = "tradelane.toml")]
    config: PathBuf,
    /// At the first start, write the operator's API key to this file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    operator_key_file: Option<PathBuf>,
}

pub(crate) fn run(args: Args, out: Out) -> Result<()> {
    let config = Config::load(&args.config)?;
    start_log(&config.log)?;
    let runtime = wiring::runtime()?;
    runtime.block_on(serve(&config, &args, out))
}

async fn serve(config: &Config, args: &Args, out: Out) -> Result<()> {
    // Signals are caught from the beginning: one that comes while the hub opens must not be lost.
    let signals = |kind| signal(kind).map_err(|error| Failure::failed(format!("signals: {error}")));
    let (mut term, mut int) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hangup = signals(SignalKind::hangup())?;
    let started = wiring::start(config).await?;
    announce(&started, args, out)?;
    loop {
        tokio::select! {
            _ = term.recv() => { tracing::info!(target: "tradelane", "SIGTERM: stopping"); break; }
            _ = int.recv() => { tracing::info!(target: "tradelane", "SIGINT: stopping"); break; }
            _ = hangup.recv() => {
                tracing::info!(target: "tradelane", "SIGHUP: reading the certificate again");
                started.renew().await;
            }
        }
    }
    started.stop().await;
    tracing::info!(target: "tradelane", "stopped");
    Ok(())
}

fn announce(started: &Started, args: &Args, out: Out) -> Result<()> {
    for sentence in &started.recovered {
        tracing::info!(target: "tradelane", "{sentence}");
    }
    tracing::info!(target: "tradelane", url = %started.url, "serving");
    let mut key_file = None;
    if let Some(key) = &started.operator_key {
        match &args.operator_key_file {
            Some(file) => {
                write_private(file, &format!("{}\n", key.expose()))?;
                key_file = Some(file);
                out.line(format!("{} operator key in {}", out.paint(Tone::Good, "new hub:"), file.display()));
            }
            None => {
                out.line(key.expose());
                if !out.is_json() {
                    remark("This is the first operator's API key. It is shown this once; keep it safe.");
                }
            }
        }
    }
    out.line(format!("{} {}", out.paint(Tone::Good, "serving"), started.url));
    if let Some(kafka) = &started.kafka {
        out.line(format!("  Kafka clients: {kafka}"));
    }
    if let Some(ca) = &started.ca_file {
        out.line(format!("  authority for clients: {}", ca.display()));
    }
    let shown = started.operator_key.as_ref().filter(|_| key_file.is_none()).map(|key| key.expose());
    out.value(&json!({
        "url": started.url, "kafka": started.kafka, "ca": started.ca_file, "operatorKey": shown, "operatorKeyFile": key_file,
    }));
    Ok(())
}

/// Logs go to stderr; RUST_LOG is not asked, so that the configuration says what is logged.
fn start_log(log: &Log) -> Result<()> {
    let filter = EnvFilter::try_new(&log.level).map_err(|error| Failure::no(format!("`log.level`: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(true);
    match log.format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
