//! Frames off a connection: four bytes of length, and so many bytes.
//!
//! Memory follows what has arrived, not what a length claims; large frames of all connections together have a limit. A
//! frame is handed on as one piece of memory, of which a batch of records is a slice. It knows nothing of requests.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
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
    _held: Vec<OwnedSemaphorePermit>,
}

/// What a connection reads its large frames into: memory of all connections together, of which an organization has a part, once
/// it is known whose the connection is. A permit is a KiB.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) all: Arc<Semaphore>,
    pub(crate) own: Arc<OnceLock<Arc<Semaphore>>>,
}

impl Memory {
    /// A place for so many bytes. Whoever has used up its own part waits for that, and keeps nobody else waiting.
    async fn hold(&self, bytes: usize) -> Result<Vec<OwnedSemaphorePermit>, NoFrame> {
        let share = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let mut held = Vec::with_capacity(2);
        for memory in self.own.get().into_iter().chain([&self.all]) {
            held.push(Arc::clone(memory).acquire_many_owned(share).await.map_err(|_| NoFrame::End)?);
        }
        Ok(held)
    }
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
    memory: Memory,
    arrives: Duration,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(stream: R, longest: Arc<AtomicUsize>, memory: Memory, arrives: Duration) -> Self {
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
        let held = if length <= SMALL { Vec::new() } else { self.memory.hold(length).await? };
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
        of(bytes, longest, &Arc::new(Semaphore::new(4 << 20)), None)
    }

    fn of<R: AsyncRead + Unpin>(
        stream: R,
        longest: usize,
        all: &Arc<Semaphore>,
        own: Option<&Arc<Semaphore>>,
    ) -> Frames<R> {
        let memory = Memory { all: Arc::clone(all), own: Arc::default() };
        own.into_iter().for_each(|own| memory.own.set(Arc::clone(own)).unwrap());
        Frames::new(stream, Arc::new(AtomicUsize::new(longest)), memory, Duration::from_secs(5))
    }

    #[tokio::test]
    async fn who_claims_much_and_sends_nothing_keeps_its_own_organization_waiting_and_no_other() {
        const LONG: usize = 100 << 10;
        let (all, near, far) = (Semaphore::new(400), Semaphore::new(200), Semaphore::new(200));
        let [all, near, far] = [all, near, far].map(Arc::new);
        let head = u32::try_from(LONG).unwrap().to_be_bytes();
        let mut silent = Vec::new();
        for _ in 0..5 {
            let (mut client, stream) = tokio::io::duplex(64);
            tokio::io::AsyncWriteExt::write_all(&mut client, &head).await.unwrap();
            let mut frames = of(stream, LONG, &all, Some(&near));
            silent.push((client, tokio::spawn(async move { frames.next().await.map(drop) })));
        }
        while near.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let whole = [&head[..], &[7; LONG]].concat();
        for _ in 0..3 {
            assert_eq!(of(&whole[..], LONG, &all, Some(&far)).next().await.unwrap().bytes.len(), LONG);
        }
        assert_eq!((all.available_permits(), far.available_permits()), (200, 200), "what is done is given back");
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
