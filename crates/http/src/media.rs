//! Media types: what a body says it is, and what a caller is willing to take.
//!
//! Only as much of RFC 9110 as is needed: a type, a subtype, parameters that are looked at by name, and quality values.

/// `type/subtype` in lower case and the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// `application/json`
    pub(crate) essence: String,
    /// Name in lower case, value without quotes.
    pub(crate) parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads a `Content-Type`, or one member of an `Accept`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let parameters = parts.map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=')?;
            is_token(name).then(|| (name.to_ascii_lowercase(), value.trim_matches('"').to_owned()))
        });
        let parameters = parameters.collect::<Option<Vec<_>>>()?;
        Some(Self { essence, parameters })
    }

    /// A parameter by its name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// JSON is UTF-8; a body that says otherwise is not JSON.
    pub(crate) fn is_utf8(&self) -> bool {
        self.parameter("charset").is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8"))
    }
}

fn is_token(text: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(tchar)
}

/// Which of `offered` an `Accept` header likes best; the first offered, if it likes several alike or there is no header.
/// `None`: it likes none of them.
pub(crate) fn negotiate<'a>(accept: Option<&str>, offered: &[&'a str]) -> Option<&'a str> {
    let Some(accept) = accept.filter(|text| !text.trim().is_empty()) else { return offered.first().copied() };
    let ranges: Vec<(MediaType, u16)> = accept
        .split(',')
        .take(32)
        .filter_map(|range| {
            let range = MediaType::parse(range)?;
            let quality = range.parameter("q").map_or(Some(1_000), quality)?;
            Some((range, quality))
        })
        .collect();
    let mut best: Option<(&str, u16)> = None;
    for offer in offered {
        let liked = like(&ranges, offer);
        if liked > 0 && best.is_none_or(|(_, most)| liked > most) {
            best = Some((offer, liked));
        }
    }
    best.map(|(offer, _)| offer)
}

/// The quality that the most specific matching range gives to an offer, in thousandths.
fn like(ranges: &[(MediaType, u16)], offer: &str) -> u16 {
    let kind = offer.split('/').next().unwrap_or_default();
    let specificity = |essence: &str| match essence.split_once('/') {
        Some(("*", "*")) => Some(0),
        Some((k, "*")) if k == kind => Some(1),
        _ if essence == offer => Some(2),
        _ => None,
    };
    let matching = ranges.iter().filter_map(|(range, q)| specificity(&range.essence).map(|s| (s, *q)));
    matching.max_by_key(|(s, _)| *s).map_or(0, |(_, q)| q)
}

fn quality(text: &str) -> Option<u16> {
    let value: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&value).then_some((value * 1_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["application/x-ndjson", "application/json", "text/event-stream"];

    #[test]
    fn the_callers_liking_decides_and_the_first_offer_breaks_ties() {
        for (accept, expected) in [
            (None, Some("application/x-ndjson")),
            (Some(""), Some("application/x-ndjson")),
            (Some("*/*"), Some("application/x-ndjson")),
            (Some("application/json"), Some("application/json")),
            (Some("Application/JSON; charset=utf-8"), Some("application/json")),
            (Some("text/*;q=0.9, application/*;q=0.1"), Some("text/event-stream")),
            (Some("application/x-ndjson;q=0, */*"), Some("application/json")),
            (Some("text/html"), None),
            (Some("application/json;q=0"), None),
            (Some("nonsense"), None),
        ] {
            assert_eq!(negotiate(accept, &OFFERED), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_content_type_is_read_with_its_parameters() {
        let media = MediaType::parse("Application/JSON; Charset=\"UTF-8\"").unwrap();
        assert_eq!(media.essence, "application/json");
        assert!(media.is_utf8());
        assert!(!MediaType::parse("application/json;charset=latin1").unwrap().is_utf8());
        for bad in ["", "json", "a/", "/b", "a b/c", "a/b; c"] {
            assert_eq!(MediaType::parse(bad), None, "{bad}");
        }
    }
}
