//! RFC 3986: whether a text is an absolute URI. Knows no scheme in particular.

const PATH: u8 = 1;
const HOST: u8 = 2;
const SCHEME: u8 = 4;

/// What each byte may be part of: `PATH` pchar and '/', `HOST` unreserved and sub-delims, `SCHEME` after its first letter.
const TABLE: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut byte = 0usize;
    while byte < 128 {
        let b = byte as u8;
        let alnum = b.is_ascii_alphanumeric();
        let unreserved = alnum || matches!(b, b'-' | b'.' | b'_' | b'~');
        let sub = matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
        if unreserved || sub || matches!(b, b':' | b'@' | b'/') {
            table[byte] |= PATH;
        }
        if unreserved || sub {
            table[byte] |= HOST;
        }
        if alnum || matches!(b, b'+' | b'-' | b'.') {
            table[byte] |= SCHEME;
        }
        byte += 1;
    }
    table
};

fn is(byte: u8, class: u8) -> bool {
    TABLE[usize::from(byte)] & class != 0
}

/// Whether every byte is of the class, `also`, or the start of a percent-encoded byte.
fn all(bytes: &[u8], class: u8, also: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if is(byte, class) || also.contains(&byte) {
            continue;
        }
        let encoded = byte == b'%' && rest.len() >= 2 && rest.iter().take(2).all(u8::is_ascii_hexdigit);
        if !encoded {
            return false;
        }
        rest = rest.get(2..).unwrap_or_default();
    }
    true
}

/// The scheme of a URI: what is before its first colon, if that is shaped as a scheme.
pub fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let bytes = scheme.as_bytes();
    let shaped = bytes.first()?.is_ascii_alphabetic() && bytes.iter().all(|&b| is(b, SCHEME));
    shaped.then_some(scheme)
}

/// Whether a text is an absolute URI, in full (RFC 3986, `URI`).
pub fn is_uri(text: &str) -> bool {
    let Some(scheme) = scheme(text) else { return false };
    let rest = text.as_bytes().get(scheme.len() + 1..).unwrap_or_default();
    let (rest, fragment) = cut(rest, b'#');
    let (rest, query) = cut(rest, b'?');
    let path = match rest.strip_prefix(b"//") {
        Some(rest) => {
            let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if !is_authority(authority) {
                return false;
            }
            path
        }
        None => rest,
    };
    all(path, PATH, b"") && all(query, PATH, b"?") && all(fragment, PATH, b"?")
}

fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(found) => (text.get(..found).unwrap_or_default(), text.get(found + 1..).unwrap_or_default()),
        None => (text, b""),
    }
}

fn is_authority(authority: &[u8]) -> bool {
    let host_port = match authority.iter().rposition(|&b| b == b'@') {
        Some(at) => {
            if !all(authority.get(..at).unwrap_or_default(), HOST, b":") {
                return false;
            }
            authority.get(at + 1..).unwrap_or_default()
        }
        None => authority,
    };
    let (host, port) = match host_port.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
            let (literal, after) = rest.split_at(end);
            if !is_ip_literal(literal) {
                return false;
            }
            (&b""[..], after.get(1..).unwrap_or_default())
        }
        None => {
            let end = host_port.iter().position(|&b| b == b':').unwrap_or(host_port.len());
            host_port.split_at(end)
        }
    };
    let port_ok = port.is_empty() || (port.first() == Some(&b':') && port.iter().skip(1).all(u8::is_ascii_digit));
    all(host, HOST, b"") && port_ok
}

fn is_ip_literal(literal: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(literal) else { return false };
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, rest)| {
            !version.is_empty()
                && version.bytes().all(|b| b.is_ascii_hexdigit())
                && !rest.is_empty()
                && rest.bytes().all(|b| is(b, HOST) || b == b':')
        });
    }
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_uri;

    #[test]
    fn absolute_uris_of_any_scheme_are_known() {
        for good in [
            "urn:epc:id:sgtin:0614141.812345.6789%2F%26%25%22!%3F()",
            "https://id.gs1.org/01/09521141012345/21/2017",
            "ni:///sha-256;36ab?ver=CBV2.0",
            "geo:50.9475,6.9221",
            "example:x",
            "http://user:pw@[::1]:8080/a?b#c",
            "http://[v1.fe:80]/",
            "a:",
        ] {
            assert!(is_uri(good), "{good}");
        }
    }

    #[test]
    fn what_is_no_absolute_uri_is_refused() {
        for bad in [
            "",
            "shipping",
            "1a:b",
            ":a",
            "http://a b/",
            "http://a/%2",
            "http://a/%zz",
            "http://[zz]/",
            "http://a:8x/",
            "urn:a^b",
            "http://ä/",
            "a:b#c#d",
            "http://[::1/",
            "a:<b>",
            "a:\\b",
        ] {
            assert!(!is_uri(bad), "{bad}");
        }
    }
}
