//! Newline-delimited JSON: one document per line, each line bounded before it is looked at.

use std::fmt;

/// Bounds of a body of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineLimits {
    /// Longest line in bytes, its line end not counted.
    pub max_line_bytes: usize,
    /// Most lines that are not blank.
    pub max_lines: usize,
}

/// One line that is not blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the body, from 1, blank lines counted.
    pub number: usize,
    /// Byte offset of its first byte in the body.
    pub offset: usize,
    /// Its bytes, without `\n` or `\r\n`.
    pub bytes: &'a [u8],
}

/// A body that breaks its limits. Iteration ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// This line is longer than [`LineLimits::max_line_bytes`].
    TooLong {
        /// Number of the line, from 1.
        line: usize,
    },
    /// The body has more lines than [`LineLimits::max_lines`]; this is the first too many.
    TooMany {
        /// Number of the line, from 1.
        line: usize,
    },
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::TooLong { line } => write!(f, "line {line} is longer than allowed"),
            LineError::TooMany { line } => write!(f, "line {line} is beyond the number of lines allowed"),
        }
    }
}

impl std::error::Error for LineError {}

/// The lines of `body` that are not blank. The last one needs no line end.
pub fn lines(body: &[u8], limits: LineLimits) -> Lines<'_> {
    Lines { body, limits, at: 0, number: 0, taken: 0 }
}

/// Iterator of [`lines`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    body: &'a [u8],
    limits: LineLimits,
    at: usize,
    number: usize,
    taken: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
            let offset = self.at;
            let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            self.at += length + 1;
            self.number += 1;
            let bytes = rest.get(..length)?;
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if bytes.iter().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
                continue;
            }
            let line = self.number;
            if bytes.len() > self.limits.max_line_bytes {
                self.at = self.body.len();
                return Some(Err(LineError::TooLong { line }));
            }
            if self.taken >= self.limits.max_lines {
                self.at = self.body.len();
                return Some(Err(LineError::TooMany { line }));
            }
            self.taken += 1;
            return Some(Ok(Line { number: line, offset, bytes }));
        }
    }
}
