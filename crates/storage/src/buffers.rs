//! Memory that is used again. What a batch is read into or rendered in has a megabyte and lives for one page: to have the
//! system map, clear and take back as much for each costs more than what is done with it.
//!
//! It knows nothing of what is in a buffer. One that is given back keeps its bytes, for whoever writes over them.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// What is smaller is left to the allocator, which has such at hand.
const SMALL: usize = 64 << 10;

/// Buffers for those who read or render batches. Clones share what is idle.
#[derive(Debug, Clone)]
pub struct Buffers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    idle: Mutex<Idle>,
    most: usize,
}

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Held>,
    bytes: usize,
}

/// Its bytes may be somebody's data, so it does not print.
struct Held(Vec<u8>);

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.capacity())
    }
}

impl Buffers {
    /// Keeps at most so many bytes of buffers that nobody uses.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { idle: Mutex::default(), most }))
    }

    /// An empty buffer with room for so many bytes.
    pub fn empty(&self, room: usize) -> Buffer {
        let mut buffer = self.any(room);
        buffer.bytes.clear();
        buffer
    }

    /// A buffer of so many bytes, for whoever writes over all of them: what they are is not known.
    pub fn filled(&self, length: usize) -> Buffer {
        let mut buffer = self.any(length);
        // Bytes that were there before are not cleared once more.
        buffer.bytes.resize(length, 0);
        buffer
    }

    /// Lets go of the buffers that nobody uses, and of what was in them.
    pub fn forget(&self) {
        *self.0.idle() = Idle::default();
    }

    /// The one that was used last of those with enough room and not half as much again, or a new one.
    fn any(&self, room: usize) -> Buffer {
        let fits = |held: &Held| (room..=room + room / 2).contains(&held.0.capacity());
        let mut idle = self.0.idle();
        let found = (room >= SMALL).then(|| idle.buffers.iter().rposition(fits)).flatten();
        let bytes = found.map(|at| idle.buffers.remove(at).0);
        idle.bytes -= bytes.as_ref().map_or(0, Vec::capacity);
        drop(idle);
        Buffer { bytes: bytes.unwrap_or_else(|| Vec::with_capacity(rounded(room))), home: Arc::clone(&self.0) }
    }
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a buffer; those that were not used for longest make way.
    fn keep(&self, bytes: Vec<u8>) {
        if !(SMALL..=self.most).contains(&bytes.capacity()) {
            return;
        }
        let mut idle = self.idle();
        idle.bytes += bytes.capacity();
        idle.buffers.push(Held(bytes));
        let (mut over, mut gone) = (idle.bytes.saturating_sub(self.most), 0);
        while let Some(Held(oldest)) = idle.buffers.get(gone).filter(|_| over > 0) {
            over = over.saturating_sub(oldest.capacity());
            gone += 1;
        }
        idle.bytes -= idle.buffers.drain(..gone).map(|Held(bytes)| bytes.capacity()).sum::<usize>();
    }
}

/// Up to the next eighth of the power of two below it, so that batches of nearly one size have buffers of one size.
fn rounded(room: usize) -> usize {
    if room < SMALL { room } else { room.next_multiple_of((1 << room.ilog2()) / 8) }
}

/// A buffer. It is given back when it is dropped, or with the last of the [bytes](Self::freeze) that were made of it.
pub struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Shared>,
}

impl Buffer {
    /// Its bytes, to be shared.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.keep(std::mem::take(&mut self.bytes));
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 20;

    fn idle(buffers: &Buffers) -> (usize, usize) {
        let idle = buffers.0.idle();
        assert_eq!(idle.bytes, idle.buffers.iter().map(|held| held.0.capacity()).sum::<usize>());
        (idle.buffers.len(), idle.bytes)
    }

    #[test]
    fn a_buffer_is_used_again_when_the_last_of_its_bytes_is_dropped() {
        let buffers = Buffers::new(8 * ROOM);
        let mut first = buffers.empty(ROOM);
        first.extend_from_slice(b"orders");
        let place = first.as_ptr();
        let bytes = first.freeze();
        let part = bytes.slice(2..);
        drop(bytes);
        assert_ne!(buffers.empty(ROOM).as_ptr(), place, "somebody still has it");
        assert_eq!(&part[..], b"ders");
        drop(part);
        let again = buffers.empty(ROOM);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn a_filled_buffer_has_as_many_bytes_as_were_asked_for() {
        let buffers = Buffers::new(8 * ROOM);
        for length in [0, 7, SMALL, ROOM, ROOM - 9, ROOM + 9] {
            let mut buffer = buffers.filled(length);
            assert_eq!(buffer.len(), length);
            buffer.fill(1);
            drop(buffer);
            assert!(buffers.empty(length).is_empty());
        }
    }

    #[test]
    fn what_is_asked_for_gets_no_buffer_that_is_far_too_large_or_too_small() {
        let buffers = Buffers::new(8 * ROOM);
        let kept = buffers.empty(2 * ROOM);
        let place = kept.as_ptr();
        drop(kept);
        for room in [SMALL, ROOM, 4 * ROOM] {
            let other = buffers.empty(room);
            assert!(other.as_ptr() != place && (room..=room + room / 8).contains(&other.capacity()), "{room}");
        }
        assert_eq!(buffers.empty(2 * ROOM - 9).as_ptr(), place);
    }

    #[test]
    fn idle_buffers_are_no_more_than_was_said_and_the_oldest_go_first() {
        let buffers = Buffers::new(4 * ROOM);
        let taken: Vec<Buffer> = (0..6).map(|_| buffers.empty(ROOM)).collect();
        let last = taken.last().unwrap().as_ptr();
        assert_eq!(idle(&buffers), (0, 0));
        drop(taken);
        assert_eq!(idle(&buffers), (4, 4 * ROOM));
        assert_eq!(buffers.empty(ROOM).as_ptr(), last);
        drop(buffers.empty(5 * ROOM));
        drop(buffers.empty(SMALL - 1));
        assert_eq!(idle(&buffers), (4, 4 * ROOM), "neither too large ones nor small ones are kept");
        buffers.forget();
        assert_eq!(idle(&buffers), (0, 0));
    }
}
