//! Numbers as the validator asks for them. The text is at hand, so nothing is built, and no magnitude can panic.

use jsonschema::json::JsonNumber;
use std::borrow::Cow;
use tradelane_tape::Node;

/// A node that is a number.
#[derive(Clone, Copy)]
pub(crate) struct Number<'a>(pub(crate) Node<'a>);

impl JsonNumber for Number<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0.raw_text())
    }

    /// Asked for messages only, which are not used; a number beyond a double becomes the largest one.
    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        let number = if let Some(unsigned) = self.0.as_u64() {
            unsigned.into()
        } else if let Some(signed) = self.0.as_i64() {
            signed.into()
        } else {
            self.0.as_f64().and_then(serde_json::Number::from_f64).unwrap_or_else(|| i64::MAX.into())
        };
        Cow::Owned(number)
    }

    fn is_integer(&self) -> bool {
        self.0.is_written_as_integer() || is_integral(self.0.raw_text())
    }

    fn is_written_as_integer(&self) -> bool {
        self.0.is_written_as_integer()
    }
}

/// Whether a decimal literal denotes an integer, exactly: `1.0`, `1.50e1` and `1e400` do, `1e-400` does not.
fn is_integral(literal: &str) -> bool {
    let (mantissa, exponent) = match literal.find(['e', 'E']) {
        Some(at) => (literal.get(..at).unwrap_or_default(), literal.get(at + 1..).unwrap_or_default()),
        None => (literal, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('-');
    // Digits after the point that an exponent must at least move over it (negative: that it may move behind it).
    let needed = match (fraction.is_empty(), whole.trim_end_matches('0')) {
        (true, "") => return true,
        (true, significant) => significant.len() as i64 - whole.len() as i64,
        (false, _) => fraction.len() as i64,
    };
    // An exponent of more than 18 digits decides by its sign alone.
    let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    exponent >= needed
}

#[cfg(test)]
mod tests {
    use super::is_integral;

    #[test]
    fn integers_are_told_by_their_value_not_by_their_spelling() {
        for literal in [
            "0",
            "-0.0",
            "1.0",
            "1e3",
            "1E+3",
            "1.5e1",
            "-1.500e1",
            "100e-2",
            "1e400",
            "0e-99",
            "0.0e-9",
            "1e99999999999999999999",
            "0e-99999999999999999999",
            "12300.00e-2",
        ] {
            assert!(is_integral(literal), "{literal}");
        }
        for literal in
            ["0.5", "-1.25", "1e-1", "1.5e0", "150e-2", "1e-400", "10.5e0", "1e-99999999999999999999", "1.05e1"]
        {
            assert!(!is_integral(literal), "{literal}");
        }
    }
}
