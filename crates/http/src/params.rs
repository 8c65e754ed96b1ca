//! Parameters of a request, read strictly: a name that is not known, comes twice, or has a value of the wrong form is
//! refused by name. No message repeats a value.

use std::borrow::Cow;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tradelane_hub::{HubError, Result};
use tradelane_model::codes;

/// The last partition that a product can have.
pub(crate) const LAST_PARTITION: u32 = tradelane_model::product::MAX_PARTITIONS - 1;
/// The most parameters in one query.
const MAX_PARAMETERS: usize = 256;

/// The parameters of a query (`application/x-www-form-urlencoded`), which are taken out by name.
#[derive(Debug, Default)]
pub(crate) struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads a query, or a form body.
    pub(crate) fn parse(query: &str) -> Result<Self> {
        let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
        if parts.len() > MAX_PARAMETERS {
            return Err(bad(format!("The query has more than {MAX_PARAMETERS} parameters; send fewer.")));
        }
        let pairs = parts.into_iter().map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self { pairs: pairs.collect::<Result<_>>()? })
    }

    /// Takes a parameter that may come once.
    pub(crate) fn take(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.pairs.iter().position(|(n, _)| n == name) else { return Ok(None) };
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|(n, _)| n == name) {
            return Err(bad(format!("The parameter `{name}` comes more than once; send it once.")));
        }
        Ok(Some(value))
    }

    /// Takes a parameter and reads it; `form` says what it should look like.
    pub(crate) fn read<T: FromStr>(&mut self, name: &str, form: &str) -> Result<Option<T>> {
        let Some(text) = self.take(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| wrong(name, form))
    }

    /// Takes a number between two bounds; larger ones are refused, not cut.
    pub(crate) fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let form = format!("a whole number from {least} to {most}");
        match self.take(name)? {
            None => Ok(None),
            Some(text) => {
                whole(&text).filter(|n| (least..=most).contains(n)).map(Some).ok_or_else(|| wrong(name, &form))
            }
        }
    }

    /// Takes the partition of a product.
    pub(crate) fn partition(&mut self) -> Result<Option<u32>> {
        Ok(self.number("partition", 0, u64::from(LAST_PARTITION))?.and_then(|n| u32::try_from(n).ok()))
    }

    /// Takes the major version of a contract.
    pub(crate) fn version(&mut self) -> Result<Option<u32>> {
        Ok(self.number("version", 0, u64::from(u32::MAX))?.and_then(|n| u32::try_from(n).ok()))
    }

    /// Takes `true` or `false`.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool> {
        match self.take(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<()> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        // The name is the caller's own text: it is not repeated, for it may be a value that lost its name.
        Err(bad("The query has a parameter that this operation does not know; the OpenAPI document lists them."))
    }

    /// What is left, in order.
    pub(crate) fn into_rest(self) -> Vec<(String, String)> {
        self.pairs
    }
}

/// Digits only: no sign, no leading zeros beyond one zero, no blanks.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn decode(text: &str) -> Result<String> {
    let spaced: Cow<'_, str> = if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let broken = || bad("The query is not percent-encoded UTF-8.");
    if !well_encoded(&spaced) {
        return Err(broken());
    }
    percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned).map_err(|_| broken())
}

/// Every `%` is followed by two hexadecimal digits.
fn well_encoded(text: &str) -> bool {
    text.as_bytes()
        .split(|b| *b == b'%')
        .skip(1)
        .all(|rest| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
}

/// A parameter with a value of the wrong form.
pub(crate) fn wrong(name: &str, form: &str) -> HubError {
    bad(format!("`{name}` must be {form}."))
}

/// A request that is not understood.
pub(crate) fn bad(detail: impl Into<String>) -> HubError {
    HubError::new(codes::BAD_PARAMETER, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_none_may_be_left() {
        let mut params = Params::parse("from=latest&limit=10&&a%20b=c+d%2B").unwrap();
        assert_eq!(params.take("from").unwrap().as_deref(), Some("latest"));
        assert_eq!(params.number("limit", 1, 10).unwrap(), Some(10));
        assert_eq!(params.take("a b").unwrap().as_deref(), Some("c d+"));
        assert!(params.finish().is_ok());
        assert!(Params::parse("a=1&a=2").unwrap().take("a").is_err());
        assert!(Params::parse("a=1").unwrap().finish().is_err());
    }

    #[test]
    fn values_of_the_wrong_form_are_refused_without_repeating_them() {
        for bad in ["0", "11", "-1", "+1", "01", "1e3", "", "x", "99999999999999999999"] {
            let query = format!("limit={bad}");
            let error = Params::parse(&query).unwrap_or_default().number("limit", 1, 10).unwrap_err();
            assert_eq!(error.code, codes::BAD_PARAMETER, "{bad}");
        }
        for broken in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(Params::parse(broken).is_err(), "{broken}");
        }
        let error = Params::parse("s3cret=1").unwrap().finish().unwrap_err();
        assert!(!error.detail.contains("s3cret"));
    }
}
