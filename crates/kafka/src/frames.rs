//! Frames off a connection: four bytes of length, and so many bytes.
//!
//! Memory follows what has arrived, not what a length claims; large frames of all connections together have a limit. A
//! frame is handed on as one piece of memory, of which a batch of records is a slice. It knows nothing of requests.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Frames up to this size are not counted against the memory that large ones share.
const SMALL: usize = 64 << 10;
/// Most that is reserved ahead of what has arrived.
const AHEAD: usize = 1 << 20;

/// A whole frame. Its share of the memory for large ones is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    _held: Option<OwnedSemaphorePermit>,
}

/// What came instead of a frame.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoFrame {
    #[error("the connection has ended")]
    End,
    #[error("TLS on a plain port")]
    Tls,
    #[error("a frame of {0} bytes is longer than allowed")]
    Length(i64),
    #[error("the frame did not arrive in time")]
    Slow,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads frames.
pub(crate) struct Frames<R> {
    stream: R,
    buffer: BytesMut,
    /// The longest frame: changes when the client is authenticated.
    longest: Arc<AtomicUsize>,
    memory: Arc<Semaphore>,
    arrives: Duration,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// `memory` has one permit for each KiB.
    pub(crate) fn new(stream: R, longest: Arc<AtomicUsize>, memory: Arc<Semaphore>, arrives: Duration) -> Self {
        Self { stream, buffer: BytesMut::new(), longest, memory, arrives }
    }

    /// The next frame. Waits for its first byte as long as it takes; silence is limited beneath.
    pub(crate) async fn next(&mut self) -> Result<Frame, NoFrame> {
        if self.buffer.is_empty() && self.read().await? == 0 {
            return Err(NoFrame::End);
        }
        match timeout(self.arrives, self.rest()).await {
            Ok(frame) => frame,
            Err(_) => Err(NoFrame::Slow),
        }
    }

    async fn rest(&mut self) -> Result<Frame, NoFrame> {
        self.fill(4).await?;
        let head = self.buffer.first_chunk::<4>().copied().unwrap_or_default();
        let claimed = i32::from_be_bytes(head);
        let length = usize::try_from(claimed).ok().filter(|&length| length <= self.longest.load(Ordering::Acquire));
        let Some(length) = length else {
            // A handshake record of any version of TLS.
            let is_tls = head.starts_with(&[0x16, 0x03]);
            return Err(if is_tls { NoFrame::Tls } else { NoFrame::Length(i64::from(claimed)) });
        };
        let held = match length {
            0..=SMALL => None,
            _ => {
                let share = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
                let held = Arc::clone(&self.memory).acquire_many_owned(share).await;
                Some(held.map_err(|_| NoFrame::End)?)
            }
        };
        self.fill(4 + length).await?;
        let mut bytes = self.buffer.split_to(4 + length).freeze();
        Ok(Frame { bytes: bytes.split_off(4), _held: held })
    }

    /// Reads until the buffer holds that much.
    async fn fill(&mut self, size: usize) -> Result<(), NoFrame> {
        while self.buffer.len() < size {
            let missing = size - self.buffer.len();
            self.buffer.reserve(missing.min(AHEAD.max(self.buffer.len())));
            if self.read().await? == 0 {
                return Err(NoFrame::End);
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<usize, NoFrame> {
        if self.buffer.capacity() - self.buffer.len() < 4_096 && self.buffer.len() < SMALL {
            self.buffer.reserve(16 << 10);
        }
        Ok(self.stream.read_buf(&mut self.buffer).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], longest: usize) -> Frames<&[u8]> {
        let memory = Arc::new(Semaphore::new(4 << 20));
        Frames::new(bytes, Arc::new(AtomicUsize::new(longest)), memory, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn frames_come_one_by_one() {
        let mut frames = frames(&[0, 0, 0, 2, b'a', b'b', 0, 0, 0, 1, b'c'], 8);
        assert_eq!(frames.next().await.unwrap().bytes, "ab");
        assert_eq!(frames.next().await.unwrap().bytes, "c");
        assert!(matches!(frames.next().await, Err(NoFrame::End)));
    }

    #[tokio::test]
    async fn a_claimed_length_reserves_no_memory_and_tls_is_recognized() {
        let mut long = frames(&[0x7f, 0xff, 0xff, 0xff, 1], usize::MAX);
        assert!(matches!(long.next().await, Err(NoFrame::End)));
        assert!(long.buffer.capacity() <= 2 * AHEAD);
        assert!(matches!(frames(&[0, 0, 0, 9, 1], 8).next().await, Err(NoFrame::Length(9))));
        assert!(matches!(frames(&[0xff, 0xff, 0xff, 0xff], 8).next().await, Err(NoFrame::Length(-1))));
        assert!(matches!(frames(&[0x16, 0x03, 0x01, 0x02, 0], 8).next().await, Err(NoFrame::Tls)));
    }
}
