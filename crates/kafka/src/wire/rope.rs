//! Bytes in pieces that are written as they lie, without being copied together.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// Pieces, one after the other.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rope {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Rope {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.length += piece.len();
            self.pieces.push_back(piece);
        }
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.length += other.length;
        self.pieces.append(&mut other.pieces);
    }

    /// The first piece, to be written on.
    pub(crate) fn take_first(&mut self) -> BytesMut {
        let first = self.pieces.pop_front().unwrap_or_default();
        self.length -= first.len();
        BytesMut::from(first)
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

impl From<Bytes> for Rope {
    fn from(piece: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(piece);
        rope
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece[..])
    }

    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(front) = self.pieces.front_mut() else { return };
            let step = count.min(front.len());
            front.advance(step);
            self.length -= step;
            count -= step;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_parts_is_what_was_put_in() {
        let mut rope = Rope::from(Bytes::from_static(b"abc"));
        rope.push(Bytes::new());
        rope.push(Bytes::from_static(b"defg"));
        assert_eq!(rope.len(), 7);
        rope.advance(2);
        assert_eq!(rope.chunk(), b"c");
        let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(rope.chunks_vectored(&mut slices), 2);
        rope.advance(3);
        assert_eq!(rope.copy_to_bytes(2), "fg");
        assert!(!rope.has_remaining());
    }
}
