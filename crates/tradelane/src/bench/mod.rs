//! `tradelane bench`: what this machine does, as ratios to a baseline that is measured beside it in the same run.
//!
//! Ratios are what to compare between machines; absolute figures stand beside them. Nothing is decided by a figure: a
//! target that is missed is shown as missed, and the exit code stays 0.

mod documents;
mod http;
mod path;
mod render;

use serde_json::{Value, json};

use crate::failure::Result;
use crate::out::{Out, Tone};

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Only figures whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Fewer rounds: quick, and less to be trusted
    #[arg(long)]
    quick: bool,
}

/// What is measured with servers of their own.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// A hub over HTTP beside a server that does what a plain service does, each a process of its own
    Http(http::Args),
    /// Writes what the benchmarks publish, and the manifests of their network, for benchmarks outside of this program
    #[command(hide = true)]
    Documents {
        /// An existing folder
        folder: std::path::PathBuf,
        /// How many events
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// How many partners with equal views
        #[arg(long, default_value_t = 8)]
        partners: usize,
    },
    /// That plain server
    #[command(hide = true)]
    Peer {
        /// Where it keeps what it stores
        folder: std::path::PathBuf,
    },
}

/// Which side of its target a figure must be on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// A figure, its target and what it was made of.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) target: Target,
    /// The two sides of a ratio, or how it was measured.
    pub(crate) made_of: String,
}

impl Figure {
    fn is_met(&self) -> bool {
        match self.target {
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        }
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::AtMost(most) => format!("<= {most}"),
            Target::AtLeast(least) => format!(">= {least}"),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit, "target": self.target_text(),
            "met": self.is_met(), "madeOf": self.made_of,
        })
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) documents: usize,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
}

type Part = fn(Effort) -> Result<Vec<Figure>>;

/// Parts of the run: the names of their figures begin with the part's.
const PARTS: [(&str, Part); 6] = [
    ("start", path::start),
    ("render", render::views),
    ("seal", render::sealing),
    ("epcis", render::epcis),
    ("permit", path::permits),
    ("hub", path::hub),
];

pub(crate) fn run(args: &Args, out: Out) -> Result<()> {
    match &args.what {
        Some(What::Http(http)) => return http::run(http, out),
        Some(What::Documents { folder, count, partners }) => return documents::write(folder, *count, *partners),
        Some(What::Peer { folder }) => return http::peer(folder, out),
        None => {}
    }
    let effort = if args.quick {
        Effort { documents: 400, rounds: 5, seconds: 0.5 }
    } else {
        Effort { documents: 4_000, rounds: 15, seconds: 3.0 }
    };
    let parts = PARTS.iter().filter(|(name, _)| args.only.is_empty() || args.only.starts_with(name));
    let parts: Vec<_> = parts.collect();
    let progress = out.progress(parts.len() as u64, "measuring");
    let mut figures = Vec::new();
    for (_, part) in parts {
        figures.extend(part(effort)?.into_iter().filter(|figure| figure.name.contains(&args.only)));
        progress.inc(1);
    }
    progress.finish_and_clear();
    show(&figures, out);
    Ok(())
}

/// The table, or JSON.
fn show(figures: &[Figure], out: Out) {
    out.value(&Value::Array(figures.iter().map(Figure::to_json).collect()));
    let mut table = out.table(&["figure", "value", "target", "", "made of"]);
    for figure in figures {
        let (tone, word) = if figure.is_met() { (Tone::Good, "met") } else { (Tone::Warn, "missed") };
        table.add_row(vec![
            out.cell(Tone::Strong, figure.name),
            out.cell(Tone::Plain, format!("{} {}", rounded(figure.value), figure.unit)),
            out.cell(Tone::Dim, figure.target_text()),
            out.cell(tone, word),
            out.cell(Tone::Dim, &figure.made_of),
        ]);
    }
    out.print(&table);
}

fn rounded(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
