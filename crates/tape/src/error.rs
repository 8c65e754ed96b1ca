//! Why a document was refused, and where.

use std::fmt;

/// A refused document: the reason, and the byte at which it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Byte offset into the document. At most its length (when the end came too early).
    pub offset: usize,
    /// What is wrong there.
    pub reason: ParseReason,
}

impl ParseError {
    /// Line and column of [`ParseError::offset`] in the document that was refused.
    pub fn position(&self, json: &[u8]) -> Position {
        Position::of(json, self.offset)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

impl std::error::Error for ParseError {}

/// What a parse refuses. The texts name no value of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseReason {
    /// Longer than [`crate::Limits::max_bytes`].
    TooLarge,
    /// Nested deeper than [`crate::Limits::max_depth`].
    TooDeep,
    /// More nodes than [`crate::Limits::max_nodes`].
    TooManyNodes,
    /// Not UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
    InvalidUtf8,
    /// The document ends inside a value, or is empty.
    UnexpectedEnd,
    /// A value must stand here.
    ExpectedValue,
    /// A member name must stand here (or, in an empty object, `}`).
    ExpectedName,
    /// `:` must stand here.
    ExpectedColon,
    /// `,` or the end of the object must stand here.
    ExpectedCommaOrBrace,
    /// `,` or the end of the array must stand here.
    ExpectedCommaOrBracket,
    /// Something follows the document's one value.
    TrailingData,
    /// A misspelt `true`, `false` or `null`.
    InvalidLiteral,
    /// Not a number by RFC 8259 (leading zeros, a bare point, a missing exponent).
    InvalidNumber,
    /// Longer than [`crate::Limits::NUMBER_BYTES`].
    NumberTooLong,
    /// A control character that must be escaped stands in a string.
    ControlCharacter,
    /// An escape that JSON does not know.
    InvalidEscape,
    /// An escaped surrogate without its other half: it is no character.
    LoneSurrogate,
    /// A member name that the object already has, escapes decoded.
    DuplicateName,
}

impl ParseReason {
    /// The reason as one clause for people, without any value of the document.
    pub fn text(self) -> &'static str {
        match self {
            ParseReason::TooLarge => "document is larger than allowed",
            ParseReason::TooDeep => "arrays and objects are nested deeper than allowed",
            ParseReason::TooManyNodes => "document holds more values than allowed",
            ParseReason::InvalidUtf8 => "document is not valid UTF-8",
            ParseReason::UnexpectedEnd => "document ends too early",
            ParseReason::ExpectedValue => "a value is expected",
            ParseReason::ExpectedName => "a member name in double quotes is expected",
            ParseReason::ExpectedColon => "a colon is expected after the member name",
            ParseReason::ExpectedCommaOrBrace => "a comma or the end of the object is expected",
            ParseReason::ExpectedCommaOrBracket => "a comma or the end of the array is expected",
            ParseReason::TrailingData => "only white space may follow the document",
            ParseReason::InvalidLiteral => "true, false or null is misspelt",
            ParseReason::InvalidNumber => "number is malformed",
            ParseReason::NumberTooLong => "number has more digits than allowed",
            ParseReason::ControlCharacter => "control character in a string must be escaped",
            ParseReason::InvalidEscape => "escape sequence is malformed",
            ParseReason::LoneSurrogate => "escaped surrogate lacks its other half",
            ParseReason::DuplicateName => "member name occurs twice in one object",
        }
    }
}

impl fmt::Display for ParseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A place in a text, for people: both numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, ended by `\n`.
    pub line: usize,
    /// Column in characters (not bytes).
    pub column: usize,
}

impl Position {
    /// The place of byte `offset` of `text`; an offset past the end means the end.
    pub fn of(text: &[u8], offset: usize) -> Position {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |i| i + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        // Every byte that begins a character; also right on text that is not UTF-8, as one column per stray byte.
        let column = before.iter().skip(line_start).filter(|&&b| b & 0xC0 != 0x80).count() + 1;
        Position { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
