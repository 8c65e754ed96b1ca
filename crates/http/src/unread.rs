//! Bodies that nobody read to their end. A client that is still sending when it is refused must see the answer, not a
//! broken connection: what it has left to send is taken and thrown away, up to a limit of bytes and of time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// How much is thrown away for the sake of an answer. Whoever announces more is refused at the price of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Time in all.
    pub(crate) time: Duration,
}

/// A request's body that is emptied when it is dropped.
pub(crate) struct Emptied<B: Body<Data = Bytes> + Send + Unpin + 'static> {
    inner: Option<B>,
    /// The client waits for a word before it sends; one that was not given holds the body back.
    held_back: bool,
    patience: Patience,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Emptied<B> {
    pub(crate) fn new(inner: B, headers: &HeaderMap, patience: Patience) -> Self {
        Self { inner: Some(inner), held_back: headers.contains_key(header::EXPECT), patience }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Emptied<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.held_back = false;
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Emptied<B> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) else { return };
        let Patience { bytes, time } = self.patience;
        // Reading would tell a client to go on that waits for that word; without it, it sends nothing.
        if self.held_back || inner.size_hint().lower() > bytes {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // When the time is up, or the client is gone, the connection ends as it would have at once.
            runtime.spawn(async move { drop(timeout(time, empty(inner, bytes)).await) });
        }
    }
}

async fn empty<B: Body<Data = Bytes> + Unpin>(mut body: B, mut left: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(bytes) {
            Some(less) => left = less,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Tells how many of its pieces were taken.
    struct Pieces(VecDeque<Bytes>, Arc<Mutex<usize>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let piece = self.0.pop_front();
            *self.1.lock().unwrap() += usize::from(piece.is_some());
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
        }
    }

    async fn taken(most: u64, headers: &HeaderMap) -> usize {
        let taken = Arc::default();
        let pieces = vec![Bytes::from_static(&[0; 10]); 8];
        let patience = Patience { bytes: most, time: Duration::from_secs(60) };
        drop(Emptied::new(Pieces(pieces.into(), Arc::clone(&taken)), headers, patience));
        tokio::task::yield_now().await;
        *taken.lock().unwrap()
    }

    #[tokio::test]
    async fn what_was_not_read_is_thrown_away_up_to_a_limit() {
        assert_eq!(taken(1_000, &HeaderMap::new()).await, 8);
        assert_eq!(taken(25, &HeaderMap::new()).await, 3);
    }

    #[tokio::test]
    async fn a_body_that_waits_for_a_word_is_left_waiting() {
        let mut headers = HeaderMap::new();
        headers.insert(header::EXPECT, http::HeaderValue::from_static("100-continue"));
        assert_eq!(taken(1_000, &headers).await, 0);
    }
}
