//! GS1 Digital Link URIs (URI Syntax 1.2): their grammar, check digits, and the constrained canonical form that the event
//! hash and queries compare. Knows nothing of events.

/// Check digit of a GS1 key without it (GS1 General Specifications, 7.9.1); `None` unless all are digits.
pub fn check_digit(digits: &str) -> Option<u8> {
    let mut sum = 0u32;
    for (at, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return None;
        }
        sum += u32::from(byte - b'0') * if at % 2 == 0 { 3 } else { 1 };
    }
    u8::try_from((10 - sum % 10) % 10).ok()
}

/// Percent-encodes what a serial may hold but a canonical Digital Link URI may not write plain (table 7-1).
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '!' => out.push_str("%21"),
            '(' => out.push_str("%28"),
            ')' => out.push_str("%29"),
            '*' => out.push_str("%2A"),
            '+' => out.push_str("%2B"),
            ',' => out.push_str("%2C"),
            ':' => out.push_str("%3A"),
            other => out.push(other),
        }
    }
    out
}

/// Whether a byte may be part of a serial, lot or the like: GS1 AI encodable character set 82.
fn in_set_82(byte: u8) -> bool {
    matches!(byte, b'!' | b'"' | b'%'..=b'?' | b'A'..=b'Z' | b'_' | b'a'..=b'z')
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Whether a text is `shortest` to `longest` characters of set 82, each plain or percent-encoded as a URI needs it.
pub fn is_serial(text: &str, shortest: usize, longest: usize) -> bool {
    let mut rest = text.as_bytes();
    let mut count = 0;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        count += 1;
        let character = if byte == b'%' {
            let (Some(high), Some(low)) = (rest.first().copied().and_then(hex), rest.get(1).copied().and_then(hex))
            else {
                return false;
            };
            rest = rest.get(2..).unwrap_or_default();
            high * 16 + low
        } else if matches!(byte, b'"' | b'&' | b'/' | b'<' | b'>' | b'?') {
            return false;
        } else {
            byte
        };
        if !in_set_82(character) || count > longest {
            return false;
        }
    }
    count >= shortest
}

/// The short names that Digital Link 1.0 and 1.1 allowed for application identifiers.
fn ai_of(segment: &str) -> &str {
    match segment {
        "gtin" => "01",
        "itip" => "8006",
        "cpid" => "8010",
        "gln" => "414",
        "party" => "417",
        "gsrnp" => "8017",
        "gsrn" => "8018",
        "gcn" => "255",
        "sscc" => "00",
        "gdti" => "253",
        "ginc" => "401",
        "gsin" => "402",
        "grai" => "8003",
        "giai" => "8004",
        "cpv" => "22",
        "lot" => "10",
        "ser" => "21",
        other => other,
    }
}

/// Digits that a primary key starts with, the digit among them that is the check digit, and the most that may follow.
struct Key {
    digits: usize,
    check: Option<usize>,
    free: usize,
}

fn primary(ai: &str) -> Option<Key> {
    let key = |digits, check, free| Some(Key { digits, check, free });
    match ai {
        "00" => key(18, Some(17), 0),
        "01" => key(14, Some(13), 0),
        "253" => key(13, Some(12), 17),
        "255" => key(13, Some(12), 12),
        "401" | "8004" => key(0, None, 30),
        "402" => key(17, Some(16), 0),
        "414" | "417" => key(13, Some(12), 0),
        // GRAI check digits are wrong too often in practice (published sample documents among them) to refuse an event.
        "8003" => key(14, None, 16),
        "8006" => key(18, Some(13), 0),
        "8010" => key(0, None, 30),
        "8017" | "8018" => key(18, Some(17), 0),
        _ => None,
    }
}

/// Longest value of a key qualifier, for the key it may follow.
fn qualifier(ai: &str, qualifier: &str) -> Option<usize> {
    match (ai, qualifier) {
        ("01" | "8006", "10" | "21" | "22") => Some(20),
        ("01", "235") => Some(28),
        ("414", "254") => Some(20),
        ("8010", "8011") => Some(12),
        ("8017" | "8018", "8019") => Some(10),
        _ => None,
    }
}

/// A Digital Link URI taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link<'a> {
    ai: &'a str,
    value: &'a str,
    qualifiers: Vec<(&'a str, &'a str)>,
    is_gs1_org: bool,
}

/// Finds the primary key in the path of a web URI. `None`: no Digital Link URI.
fn take_apart(uri: &str) -> Option<Link<'_>> {
    let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"))?;
    let rest = rest.split('?').next()?;
    let (host, path) = rest.split_once('/')?;
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let ai = ai_of(segment);
        let Some(&value) = segments.peek() else { break };
        let starts_with_digits = value.len() > 4 && value.bytes().take(4).all(|b| b.is_ascii_digit());
        if primary(ai).is_none() || !starts_with_digits {
            continue;
        }
        segments.next();
        let mut qualifiers = Vec::new();
        while let Some(name) = segments.next() {
            qualifiers.push((ai_of(name), segments.next().unwrap_or_default()));
            if qualifiers.len() > 8 {
                return None;
            }
        }
        return Some(Link { ai, value, qualifiers, is_gs1_org: host == "id.gs1.org" });
    }
    None
}

/// A GTIN as fourteen digits.
fn padded(ai: &str, value: &str) -> Option<String> {
    match (ai, value.len()) {
        ("01", 13) => Some(format!("0{value}")),
        ("01", 12) => Some(format!("00{value}")),
        ("01", 8) => Some(format!("000000{value}")),
        _ => None,
    }
}

fn key_is_shaped(ai: &str, value: &str) -> bool {
    let Some(key) = primary(ai) else { return false };
    let Some((digits, free)) = value.split_at_checked(key.digits) else { return false };
    let digits_ok = digits.bytes().all(|b| b.is_ascii_digit());
    let free_ok = if key.free == 0 { free.is_empty() } else { is_serial(free, 0, key.free) };
    digits_ok && free_ok && (ai != "255" || free.bytes().all(|b| b.is_ascii_digit()))
}

fn check_digit_is_right(ai: &str, value: &str) -> bool {
    let Some(at) = primary(ai).and_then(|key| key.check) else { return true };
    let (Some(before), Some(given)) = (value.get(..at), value.as_bytes().get(at)) else { return false };
    check_digit(before).is_some_and(|expected| expected + b'0' == *given)
}

/// What is wrong with a Digital Link URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The key, a qualifier or their order is not of the standard's grammar.
    Syntax,
    /// The check digit of the key is not the one that its other digits give.
    CheckDigit,
}

/// Checks a web URI. At `id.gs1.org` the whole grammar is demanded; at any other domain only the check digit of what is
/// plainly a GS1 key, because a path such as `/01/...` may mean something else there.
pub fn check(uri: &str) -> Result<(), Problem> {
    let at_gs1 = uri.starts_with("https://id.gs1.org/") || uri.starts_with("http://id.gs1.org/");
    let Some(link) = take_apart(uri) else {
        return if at_gs1 { Err(Problem::Syntax) } else { Ok(()) };
    };
    let full = padded(link.ai, link.value);
    let value = full.as_deref().unwrap_or(link.value);
    if !key_is_shaped(link.ai, value) {
        return if link.is_gs1_org { Err(Problem::Syntax) } else { Ok(()) };
    }
    if !check_digit_is_right(link.ai, value) {
        return Err(Problem::CheckDigit);
    }
    let qualifiers_ok = link
        .qualifiers
        .iter()
        .all(|(name, value)| qualifier(link.ai, name).is_some_and(|longest| is_serial(value, 1, longest)));
    if link.is_gs1_org && !qualifiers_ok { Err(Problem::Syntax) } else { Ok(()) }
}

/// The constrained canonical form of a Digital Link URI: at `id.gs1.org`, without query, with the finest level of
/// identification only. `None` when the text is no Digital Link URI that has one.
pub fn canonical(uri: &str) -> Option<String> {
    let link = take_apart(uri)?;
    let full = padded(link.ai, link.value);
    let value = full.as_deref().unwrap_or(link.value);
    if !key_is_shaped(link.ai, value) {
        return None;
    }
    let mut finest: Option<(&str, &str)> = None;
    for (name, given) in &link.qualifiers {
        let longest = qualifier(link.ai, name)?;
        if !is_serial(given, 1, longest) {
            return None;
        }
        match (*name, finest) {
            // The consumer product variant identifies nothing finer; a serial is finer than a lot.
            ("22", _) | ("10", Some(("21", _))) => {}
            ("8019", _) => return None,
            (name, _) => finest = Some((name, given)),
        }
    }
    Some(match finest {
        Some((name, given)) => format!("https://id.gs1.org/{}/{}/{name}/{}", link.ai, encoded(value), encoded(given)),
        None => format!("https://id.gs1.org/{}/{}", link.ai, encoded(value)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_those_of_the_general_specifications() {
        assert_eq!(check_digit("0401234511111"), Some(8));
        assert_eq!(check_digit("34012345111111111"), Some(1));
        assert_eq!(check_digit("12a"), None);
    }

    #[test]
    fn links_have_one_canonical_form() {
        for (uri, expected) in [
            ("https://id.gs1.org/gtin/09780345418913", "01/09780345418913"),
            ("https://example.com/gtin/09780345418913/21/765tz?abc=211121", "01/09780345418913/21/765tz"),
            ("http://example.de/gtin-8/01/97803111", "01/00000097803111"),
            ("http://us.com/01/001122334455/ser/GHB", "01/00001122334455/21/GHB"),
            ("https://id.gs1.org/gtin/9780345418913/cpv/344/lot/1223/ser/765tz", "01/09780345418913/21/765tz"),
            ("https://id.gs1.org/gtin/9780345418913/cpv/344", "01/09780345418913"),
            ("https://id.gs1.org/8006/040123451234560102/22/ABCD/10/XYZ", "8006/040123451234560102/10/XYZ"),
            ("https://example.co.uk/party/4226350800008", "417/4226350800008"),
            ("https://id.gs1.org/414/4280000000002/254/12", "414/4280000000002/254/12"),
            ("https://id.gs1.org/8010/0628165987/8011/9876", "8010/0628165987/8011/9876"),
            ("https://shop.example/01/09780345418913/21/a%2Fb", "01/09780345418913/21/a%2Fb"),
        ] {
            assert_eq!(canonical(uri), Some(format!("https://id.gs1.org/{expected}")), "{uri}");
        }
    }

    #[test]
    fn what_is_no_digital_link_has_no_canonical_form() {
        for uri in [
            "http://example.org/123/4012345ABC987/456/4711",
            "http://id.gs1.org/99/9780345418913",
            "http://id.gs1.org/01/9780345418913/99/utfgf",
            "http://example.de/abc/9780345418913",
            "http://example.de/01/97803",
            "https://id.gs1.org/8006/04012345123456/22/ABCD/10/XYZ",
            "https://id.gs1.org/01/09780345418913/",
            "42",
            "",
        ] {
            assert_eq!(canonical(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_wrong_check_digit_or_grammar_is_found() {
        assert_eq!(check("https://id.gs1.org/01/09780345418913"), Ok(()));
        assert_eq!(check("https://id.gs1.org/01/09780345418914"), Err(Problem::CheckDigit));
        assert_eq!(check("https://shop.example/01/09780345418914"), Err(Problem::CheckDigit));
        assert_eq!(check("https://id.gs1.org/01/0978034541891x"), Err(Problem::Syntax));
        assert_eq!(check("https://id.gs1.org/01/09780345418913/99/1"), Err(Problem::Syntax));
        assert_eq!(check("https://id.gs1.org/nothing"), Err(Problem::Syntax));
        assert_eq!(check("https://example.com/any/thing"), Ok(()));
        assert_eq!(check("https://id.gs1.org/8018/401234500000067657/8019/1"), Ok(()));
    }
}
