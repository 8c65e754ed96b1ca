//! Tokens: stand-ins that an authorized call turns back into the value.
//!
//! A token is the value itself, sealed deterministically under a key derived from its subject's data key and the grant:
//! equal values of one person are equal within a grant and nowhere else, nothing needs to be stored, and once the subject's
//! key is destroyed no token of theirs can be turned back. Its length tells the length of the value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tradelane_keys::{DeterministicKey, hkdf};
use tradelane_model::{ErrorCode, codes};

use crate::key::{DataKey, DataKeyState, OpeningKeys};

const PREFIX: &str = "t-";
/// Longest token that is looked at, in bytes: those of values up to some 700 KiB.
const MAX_TOKEN: usize = 1 << 20;

/// Why a token cannot be turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this grant.
    #[error("this is not a token of this grant; send it exactly as it stood in the event")]
    NotAToken,
    /// The person was erased.
    #[error("the data behind this token was erased")]
    Erased,
}

impl TokenError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotAToken => codes::BAD_PARAMETER,
            Self::Erased => codes::NOT_FOUND,
        }
    }
}

/// Turns a token (without its quotes) back into the JSON value it stands for, in canonical form (RFC 8785).
///
/// Whether the caller may do that is for the hub to have decided.
pub fn detokenize(token: &str, grant: &str, keys: &dyn OpeningKeys) -> Result<Vec<u8>, TokenError> {
    let text = token.strip_prefix(PREFIX).ok_or(TokenError::NotAToken)?;
    if text.len() > MAX_TOKEN {
        return Err(TokenError::NotAToken);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::NotAToken)?;
    let (id, sealed) = bytes.split_first_chunk::<8>().ok_or(TokenError::NotAToken)?;
    let key = match keys.data_key(u64::from_le_bytes(*id)) {
        DataKeyState::Live(key) => key,
        DataKeyState::Destroyed => return Err(TokenError::Erased),
        // An id that no key ever had is more likely a token made up than a key lost.
        DataKeyState::Missing => return Err(TokenError::NotAToken),
    };
    token_key(&key, grant).open(grant.as_bytes(), sealed).map_err(|_| TokenError::NotAToken)
}

/// Appends the token of a canonical value, with its quotes.
pub(crate) fn write_token(canonical: &[u8], key: &DataKey, grant: &str, out: &mut Vec<u8>) {
    let mut bytes = key.id().to_le_bytes().to_vec();
    bytes.extend_from_slice(&token_key(key, grant).seal(grant.as_bytes(), canonical));
    out.push(b'"');
    out.extend_from_slice(PREFIX.as_bytes());
    out.extend_from_slice(URL_SAFE_NO_PAD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn token_key(key: &DataKey, grant: &str) -> DeterministicKey {
    DeterministicKey::new(&hkdf(key.secret().expose(), &[b"tradelane/token/v1", grant.as_bytes()]))
}
