//! What commands print: lines and tables for people, or one JSON value for programs. Nothing else writes to stdout.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::presets::{NOTHING, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, Color, ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::environment::variable;
use crate::failure::{Failure, Result};

/// What a text means; decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Bad,
    Warn,
    Dim,
    Accent,
    Strong,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Dim => Style::new().dimmed(),
            Self::Accent => AnsiColor::Cyan.on_default().bold(),
            Self::Strong => Style::new().bold(),
        }
    }

    fn color(self) -> Option<Color> {
        match self {
            Self::Plain | Self::Strong => None,
            Self::Good => Some(Color::Green),
            Self::Bad => Some(Color::Red),
            Self::Warn => Some(Color::Yellow),
            Self::Dim => Some(Color::DarkGrey),
            Self::Accent => Some(Color::Cyan),
        }
    }
}

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    json: bool,
    color: bool,
}

impl Out {
    /// Decides once about colour: an explicit wish, then NO_COLOR and friends, then whether a person is looking.
    pub(crate) fn new(json: bool, wish: clap::ColorChoice) -> Self {
        let choice = match wish {
            clap::ColorChoice::Always => anstream::ColorChoice::Always,
            clap::ColorChoice::Never => anstream::ColorChoice::Never,
            clap::ColorChoice::Auto => anstream::AutoStream::choice(&std::io::stdout()),
        };
        choice.write_global();
        Self { json, color: !json && choice != anstream::ColorChoice::Never }
    }

    /// Is the output for a program?
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One line for people; not printed for programs. A reader that went away is no error.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        if !self.json {
            write_line(text.as_ref());
        }
    }

    /// The text in its tone, if colours are on.
    pub(crate) fn paint(self, tone: Tone, text: impl AsRef<str>) -> String {
        let (style, text) = (tone.style(), text.as_ref());
        if self.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A value for programs; people get nothing from it.
    pub(crate) fn value(self, value: &Value) {
        if self.json {
            write_line(&value.to_string());
        }
    }

    /// A line that is the product itself (an event, a hash): the same for people and programs.
    pub(crate) fn raw(self, line: &[u8]) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        let done = stdout.write_all(line).and_then(|()| stdout.write_all(b"\n"));
        match done {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::failed("nobody reads on")),
            Err(error) => Err(Failure::failed(format!("stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// A table with this header, of the terminal's width.
    pub(crate) fn table(self, header: &[&str]) -> Table {
        let under_header = LineStyle::none().fill('─').junction('─');
        self.styled(NOTHING.header_separator(under_header), header)
    }

    /// A table with lines between its columns.
    pub(crate) fn grid(self, header: &[&str]) -> Table {
        self.styled(UTF8_FULL_CONDENSED, header)
    }

    fn styled(self, style: TableStyle, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_width(width());
        table.set_header(header.iter().map(|title| self.cell(Tone::Strong, title)).collect::<Vec<_>>());
        table
    }

    /// A cell in its tone.
    pub(crate) fn cell(self, tone: Tone, text: impl ToString) -> Cell {
        let cell = Cell::new(text);
        match tone.color() {
            Some(color) if self.color => cell.fg(color),
            _ => cell,
        }
    }

    /// Columns that a line may have.
    pub(crate) fn width(self) -> usize {
        usize::from(width())
    }

    /// Prints a table.
    pub(crate) fn print(self, table: &Table) {
        self.line(table.trim_fmt());
    }

    /// A bar for long work, on stderr, if a person is looking.
    pub(crate) fn progress(self, total: u64, what: &'static str) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(total);
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {bar:32} {human_pos}/{human_len}  {per_sec}") {
            bar.set_style(style);
        }
        bar.with_message(what)
    }
}

/// The terminal's width; what a pipe gets is as wide as COLUMNS says, or 120.
fn width() -> u16 {
    let asked = variable("COLUMNS").and_then(|text| text.parse().ok());
    let seen = if std::io::stdout().is_terminal() { Table::new().width() } else { None };
    seen.or(asked).unwrap_or(120).clamp(60, 220)
}

#[allow(clippy::print_stdout, reason = "this is the one place that prints")]
fn write_line(text: &str) {
    let mut stdout = anstream::stdout().lock();
    // `tradelane ... | head` ends early on purpose.
    drop(writeln!(stdout, "{text}"));
}

/// A failure, on stderr.
pub(crate) fn complain(text: &str) {
    let style = Tone::Bad.style();
    let mut stderr = anstream::stderr().lock();
    drop(writeln!(stderr, "{style}error{style:#}: {text}"));
}

/// A remark beside the output, on stderr.
pub(crate) fn remark(text: &str) {
    let style = Tone::Dim.style();
    let mut stderr = anstream::stderr().lock();
    drop(writeln!(stderr, "{style}{text}{style:#}"));
}
