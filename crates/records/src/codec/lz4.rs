//! The LZ4 frame format (version 1.6.x) around LZ4 blocks. It knows no records.
//!
//! Batches of magic 2 have correct header checksums, unlike the messages of before, so a wrong one is refused. One frame,
//! nothing behind it: librdkafka reads no more than that either. Dictionaries, legacy and skippable frames are nothing that
//! Kafka's clients write.

use lz4_flex::block;
use twox_hash::XxHash32;

use super::{Failed, Sink};

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 1, independent blocks, no checksums, no size.
const OUR_FLAGS: u8 = 0x60;
/// Blocks of 64 KiB at most, as Kafka's clients write them.
const OUR_BLOCK: u8 = 0x40;
const OUR_BLOCK_LEN: usize = 64 << 10;
/// How far back a block may refer to the blocks before it.
const WINDOW: usize = 64 << 10;

struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_len: usize,
}

pub(super) fn decompress(input: &[u8], out: &mut Sink) -> Result<(), Failed> {
    let mut rest = input;
    let frame = Frame::take(&mut rest).ok_or(Failed::Corrupt)?;
    loop {
        let size = take_u32(&mut rest).ok_or(Failed::Corrupt)?;
        if size == 0 {
            break;
        }
        let stored = size & 0x8000_0000 != 0;
        let length = usize::try_from(size & 0x7fff_ffff).map_err(|_| Failed::Corrupt)?;
        let (data, after) = rest.split_at_checked(length).ok_or(Failed::Corrupt)?;
        rest = after;
        if frame.block_checksums && take_u32(&mut rest) != Some(XxHash32::oneshot(0, data)) {
            return Err(Failed::Corrupt);
        }
        if stored {
            if length > frame.block_len {
                return Err(Failed::Corrupt);
            }
            out.put(data)?;
        } else {
            decompress_block(&frame, data, out)?;
        }
    }
    if frame.content_checksum && take_u32(&mut rest) != Some(XxHash32::oneshot(0, &out.bytes)) {
        return Err(Failed::Corrupt);
    }
    let sized = frame.content_size.is_none_or(|size| u64::try_from(out.bytes.len()) == Ok(size));
    if sized && rest.is_empty() { Ok(()) } else { Err(Failed::Corrupt) }
}

impl Frame {
    fn take(rest: &mut &[u8]) -> Option<Self> {
        let after = rest.strip_prefix(MAGIC.as_slice())?;
        let &[flags, block, ..] = after else { return None };
        // Version 01, the reserved bits zero, no dictionary.
        if flags & 0b1100_0011 != 0b0100_0000 || block & 0b1000_1111 != 0 {
            return None;
        }
        let block_len = match block >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return None,
        };
        let sized = flags & 0b1000 != 0;
        let (descriptor, after) = after.split_at_checked(if sized { 10 } else { 2 })?;
        let content_size = if sized { Some(u64::from_le_bytes(*descriptor.last_chunk()?)) } else { None };
        let (checksum, after) = after.split_first()?;
        let [_, expected, ..] = XxHash32::oneshot(0, descriptor).to_le_bytes();
        if *checksum != expected {
            return None;
        }
        *rest = after;
        Some(Self {
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_size,
            block_len,
        })
    }
}

fn decompress_block(frame: &Frame, data: &[u8], out: &mut Sink) -> Result<(), Failed> {
    // A byte of a block becomes 255 at most, whatever the frame says of its blocks.
    let most = data.len().saturating_mul(255).saturating_add(16).min(frame.block_len);
    let capped = out.room() < most;
    let written = out.fill(most, |past, fresh| {
        if frame.linked {
            let window = past.get(past.len().saturating_sub(WINDOW)..).unwrap_or_default();
            block::decompress_into_with_dict(data, fresh, window)
        } else {
            block::decompress_into(data, fresh)
        }
    });
    match written {
        Ok(_) => Ok(()),
        Err(block::DecompressError::OutputTooSmall { .. }) if capped => Err(Failed::Full),
        Err(_) => Err(Failed::Corrupt),
    }
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*bytes))
}

/// Appends `out[from..]` as a frame to `out`, at the fastest level.
pub(crate) fn compress(out: &mut Vec<u8>, from: usize) {
    let end = out.len();
    let source = end.saturating_sub(from);
    let blocks = source.div_ceil(OUR_BLOCK_LEN);
    let most_block = block::get_maximum_output_size(OUR_BLOCK_LEN);
    // Each block is compressed in place behind the last one, so only the last may need more than it keeps.
    out.reserve(blocks.saturating_mul(OUR_BLOCK_LEN.saturating_add(4)).saturating_add(most_block).saturating_add(16));
    out.extend_from_slice(&MAGIC);
    let descriptor = [OUR_FLAGS, OUR_BLOCK];
    out.extend_from_slice(&descriptor);
    let [_, checksum, ..] = XxHash32::oneshot(0, &descriptor).to_le_bytes();
    out.push(checksum);
    let mut at = from;
    while at < end {
        let until = end.min(at.saturating_add(OUR_BLOCK_LEN));
        compress_block(out, at, until, most_block);
        at = until;
    }
    out.extend_from_slice(&[0; 4]);
}

/// Appends `out[at..until]` as one block.
fn compress_block(out: &mut Vec<u8>, at: usize, until: usize, most: usize) {
    let head = out.len();
    let body = head.saturating_add(4);
    out.resize(body.saturating_add(most), 0);
    let source = until.saturating_sub(at);
    let packed = out.split_at_mut_checked(body).and_then(|(before, fresh)| {
        let written = block::compress_into(before.get(at..until)?, fresh).ok()?;
        (written < source).then_some(written)
    });
    let size = match packed {
        Some(written) => {
            out.truncate(body.saturating_add(written));
            u32::try_from(written).unwrap_or_default()
        }
        None => {
            out.truncate(body);
            out.extend_from_within(at..until);
            u32::try_from(source).unwrap_or_default() | 0x8000_0000
        }
    };
    if let Some(place) = out.get_mut(head..body) {
        place.copy_from_slice(&size.to_le_bytes());
    }
}
