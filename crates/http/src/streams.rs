//! How many event streams each credential holds open. A place is given back when its guard is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tradelane_model::CredentialId;

/// The count.
#[derive(Debug)]
pub(crate) struct Streams {
    most: usize,
    open: Mutex<HashMap<CredentialId, usize>>,
}

/// A stream's place.
#[derive(Debug)]
pub(crate) struct Streaming {
    streams: Arc<Streams>,
    credential: CredentialId,
}

impl Streams {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// A place for one more stream, if there is one.
    pub(crate) fn admit(self: &Arc<Self>, credential: &CredentialId) -> Option<Streaming> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(credential.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Streaming { streams: Arc::clone(self), credential: credential.clone() })
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.credential) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.credential);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_holds_so_many_streams_and_no_more() {
        let streams = Streams::new(1);
        let [a, b] = ["a", "b"].map(|id| id.parse::<CredentialId>().unwrap());
        let first = streams.admit(&a).unwrap();
        assert!(streams.admit(&a).is_none());
        assert!(streams.admit(&b).is_some());
        drop(first);
        assert!(streams.admit(&a).is_some());
        assert!(streams.open.lock().unwrap().is_empty(), "what is closed is forgotten");
    }
}
