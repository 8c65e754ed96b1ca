//! How a command ends when it does not succeed: what was wrong, what to do, and an exit code that scripts can rely on.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What scripts see.
    pub(crate) exit: Exit,
    /// A stable code, if the hub gave one.
    pub(crate) code: Option<String>,
    /// What was wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
    /// Places in the input, each with its rule and message.
    pub(crate) places: Vec<String>,
    /// The output has said it all; only the exit code is left.
    pub(crate) told: bool,
}

/// The exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The answer is no: the input is not valid, the hub refused, a proof does not hold.
    No = 1,
    /// The command was not used as it is meant.
    Usage = 2,
    /// A server, a file or the network failed.
    Failed = 3,
}

/// The result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), remedy: None, places: Vec::new(), told: false }
    }

    /// The answer is no.
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self::new(Exit::No, message)
    }

    /// The command was not used as it is meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something outside failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A file could not be read or written.
    pub(crate) fn file(path: &Path, error: impl fmt::Display) -> Self {
        Self::failed(format!("{}: {error}", path.display()))
    }

    /// The answer is no, and the output says so already.
    pub(crate) fn told() -> Self {
        Self { told: true, ..Self::no("") }
    }

    /// With what to do.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// With a stable code.
    pub(crate) fn coded(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// For `--json`.
    pub(crate) fn to_json(&self) -> Value {
        json!({"error": {
            "code": self.code, "message": self.message, "remedy": self.remedy, "places": self.places,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)?;
        for place in &self.places {
            write!(f, "\n  {place}")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  {remedy}")?;
        }
        Ok(())
    }
}
