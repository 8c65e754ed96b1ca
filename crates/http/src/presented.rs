//! What a request presents as its credentials: exactly one thing, in exactly one place.
//!
//! Two credentials in one request are refused, not ranked: whichever a proxy or a logger in between believed in, it would be
//! the wrong one. Credentials in the query are never read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tradelane_hub::Presented;
use zeroize::Zeroizing;

/// The header for API keys beside `Authorization: Bearer`.
pub(crate) const X_API_KEY: &str = "x-api-key";
/// How an API key starts; everything else is taken for an access token.
const KEY_PREFIX: &str = "tlk_";

/// Why a request's credentials cannot even be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpresented {
    /// There are none.
    Nothing,
    /// There is more than one.
    Several,
    /// They are not of the form that the header has.
    Malformed,
}

/// Finds the one credential of a request.
pub(crate) fn presented(headers: &HeaderMap) -> Result<Presented<'_>, Unpresented> {
    let mut bearer = headers.get_all(AUTHORIZATION).iter();
    let mut key = headers.get_all(X_API_KEY).iter();
    let found = match (bearer.next(), bearer.next(), key.next(), key.next()) {
        (None, _, None, _) => return Err(Unpresented::Nothing),
        (Some(value), None, None, _) => bearer_token(value.to_str().map_err(|_| Unpresented::Malformed)?)?,
        (None, _, Some(value), None) => {
            let text = value.to_str().map_err(|_| Unpresented::Malformed)?;
            return if text.starts_with(KEY_PREFIX) {
                Ok(Presented::ApiKey(text))
            } else {
                Err(Unpresented::Malformed)
            };
        }
        _ => return Err(Unpresented::Several),
    };
    Ok(if found.starts_with(KEY_PREFIX) { Presented::ApiKey(found) } else { Presented::AccessToken(found) })
}

/// The password of HTTP Basic (RFC 7617), if that is how the one credential is presented: clients of a schema registry know
/// no other way. The user's name says nothing that the key does not say.
pub(crate) fn basic_password(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None, None) = (values.next(), values.next(), headers.get(X_API_KEY)) else { return None };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

/// A password that is a key or an access token.
pub(crate) fn as_password(password: &str) -> Presented<'_> {
    if password.starts_with(KEY_PREFIX) { Presented::ApiKey(password) } else { Presented::AccessToken(password) }
}

/// RFC 6750, 2.1: the scheme in any case, one space, a `b64token`.
fn bearer_token(value: &str) -> Result<&str, Unpresented> {
    let (scheme, token) = value.split_once(' ').ok_or(Unpresented::Malformed)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    let ok = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(allowed);
    if ok { Ok(token) } else { Err(Unpresented::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn one_credential_is_found_in_either_header() {
        for pairs in
            [[("authorization", "Bearer tlk_a_b")], [("authorization", "bearer tlk_a_b")], [("x-api-key", "tlk_a_b")]]
        {
            assert!(matches!(presented(&headers(&pairs)), Ok(Presented::ApiKey("tlk_a_b"))));
        }
        let map = headers(&[("authorization", "Bearer ey.J.x")]);
        assert!(matches!(presented(&map), Ok(Presented::AccessToken("ey.J.x"))));
    }

    #[test]
    fn the_password_of_basic_is_found_where_it_is_the_only_credential() {
        let encoded = format!("Basic {}", STANDARD.encode("anyone:tlk_a_b"));
        let password = basic_password(&headers(&[("authorization", &encoded)])).unwrap();
        assert!(matches!(as_password(&password), Presented::ApiKey("tlk_a_b")));
        for several in [
            [("authorization", encoded.as_str()), ("x-api-key", "tlk_a")],
            [("authorization", encoded.as_str()), ("authorization", encoded.as_str())],
        ] {
            assert!(basic_password(&headers(&several)).is_none());
        }
        for bad in ["Basic", "Basic !", "Basic YQ==", "Bearer YTpi"] {
            assert!(basic_password(&headers(&[("authorization", bad)])).is_none(), "{bad}");
        }
    }

    #[test]
    fn several_credentials_are_refused() {
        for pairs in [
            [("authorization", "Bearer a"), ("x-api-key", "tlk_a")],
            [("authorization", "Bearer a"), ("authorization", "Bearer a")],
            [("x-api-key", "tlk_a"), ("x-api-key", "tlk_a")],
        ] {
            assert_eq!(presented(&headers(&pairs)).err(), Some(Unpresented::Several));
        }
    }

    #[test]
    fn what_is_no_bearer_credential_is_malformed() {
        for value in ["Basic YTpi", "Bearer", "Bearer ", "Bearer  a", "Bearer a b", "Bearer a,b", "tlk_a"] {
            assert_eq!(presented(&headers(&[("authorization", value)])).err(), Some(Unpresented::Malformed), "{value}");
        }
        assert_eq!(presented(&headers(&[("x-api-key", "ey.J")])).err(), Some(Unpresented::Malformed));
        assert_eq!(presented(&HeaderMap::new()).err(), Some(Unpresented::Nothing));
    }
}
