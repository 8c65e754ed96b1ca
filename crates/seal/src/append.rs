//! Appending short pieces to a buffer that has room for them, without a call for each.
//!
//! `Vec::extend_from_slice` is a call that asks whether there is room and calls `memcpy`: three quarters of what it takes to
//! append a few bytes. What is here writes into the room there is, and leaves making room to `Vec`.
#![allow(unsafe_code, reason = "a vector's length cannot be set without it")]

/// Pieces up to this length are copied as one block of it, which takes two loads and stores.
pub(crate) const SHORT: usize = 32;
const HALF: usize = SHORT / 2;

/// Appends the first `len` bytes of a block.
#[inline(always)]
pub(crate) fn append_block(block: &[u8; SHORT], len: usize, out: &mut Vec<u8>) {
    let len = len.min(SHORT);
    match out.spare_capacity_mut().first_chunk_mut::<SHORT>() {
        Some(room) => {
            room.write_copy_of_slice(block);
            // SAFETY: the first `SHORT` bytes behind the vector's end were just written, and `len` is no more.
            unsafe { out.set_len(out.len() + len) }
        }
        None => out.extend_from_slice(block.get(..len).unwrap_or_default()),
    }
}

/// Appends bytes. Many values are a little longer than half a block, stand-ins above all: two halves that overlap take no
/// call.
#[inline(always)]
pub(crate) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    let len = bytes.len();
    let Some(room) = out.spare_capacity_mut().get_mut(..len) else { return out.extend_from_slice(bytes) };
    match (bytes.first_chunk::<HALF>(), bytes.last_chunk::<HALF>()) {
        (Some(first), Some(last)) if len <= SHORT => {
            room[..HALF].write_copy_of_slice(first);
            room[len - HALF..].write_copy_of_slice(last);
        }
        _ => {
            room.write_copy_of_slice(bytes);
        }
    }
    // SAFETY: the first `len` bytes behind the vector's end were just written.
    unsafe { out.set_len(out.len() + len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_values_of_every_length_are_appended_to_the_byte_with_room_and_without() {
        let text: Vec<u8> = (0..100).collect();
        for room in [0, 1, 31, 32, 33, 200] {
            for len in 0..=text.len() {
                let mut out = Vec::with_capacity(6 + room);
                out.extend_from_slice(b"before");
                append(&text[..len], &mut out);
                assert_eq!(out, [b"before", &text[..len]].concat(), "{len} with room for {room}");
            }
            for len in 0..=SHORT {
                let mut out = Vec::with_capacity(6 + room);
                out.extend_from_slice(b"before");
                append_block(text.first_chunk().unwrap(), len, &mut out);
                assert_eq!(out, [b"before", &text[..len]].concat(), "a block of {len} with room for {room}");
            }
        }
    }
}
