//! Reads a write-ahead log that a crash left behind, before SQLite opens it, to say what is in it.
//!
//! Layout and checksums: SQLite's file format, section 4 ("The Write-Ahead Log"). SQLite itself recovers the log; this
//! module only counts, and tells a torn tail (expected after a crash, never acknowledged) from damage further up, which
//! would silently drop commits that had been acknowledged.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// What a write-ahead log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WalScan {
    /// True if there was a log with anything in it.
    pub(crate) present: bool,
    /// Commits in the valid part.
    pub(crate) commits: u64,
    /// Frames up to the last of these commits.
    pub(crate) frames: u64,
    /// Bytes written after the last valid commit by the same generation of the log.
    pub(crate) torn_bytes: u64,
    /// The first frame (from 1) that is damaged although later commits follow it. One commit after the damage can be
    /// the torn one itself; two cannot, since each is synced before the next begins.
    pub(crate) damaged: Option<u64>,
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |word, &byte| word << 8 | u32::from(byte))
}

/// The running checksum of the log: two sums over 32-bit words in the byte order that the header's magic says.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sum {
    big_endian: bool,
    a: u32,
    b: u32,
}

impl Sum {
    fn add(mut self, bytes: &[u8]) -> Self {
        let word = |b: [u8; 4]| if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) };
        let (mut a, mut b) = (self.a, self.b);
        for &[w0, w1, w2, w3, w4, w5, w6, w7] in bytes.as_chunks::<8>().0 {
            a = a.wrapping_add(word([w0, w1, w2, w3])).wrapping_add(b);
            b = b.wrapping_add(word([w4, w5, w6, w7])).wrapping_add(a);
        }
        (self.a, self.b) = (a, b);
        self
    }

    fn is(self, stored: &[u8]) -> bool {
        stored.len() == 8 && self.a == be32(stored) && self.b == be32(&stored[4..])
    }
}

/// Reads as much as there is, up to the buffer's length.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match from.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(have)
}

/// Scans the log at `path`. A missing or empty file is an empty log.
pub(crate) fn scan(path: &Path) -> io::Result<WalScan> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(WalScan::default()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut header = [0u8; HEADER];
    let have = fill(&mut reader, &mut header)?;
    let mut found = WalScan { present: length > 0, ..WalScan::default() };
    let page = be32(&header[8..]) as usize;
    let magic = be32(&header);
    let sum = Sum { big_endian: magic & 1 == 1, a: 0, b: 0 }.add(&header[..24]);
    let known = magic & !1 == 0x377f_0682 && page.is_power_of_two() && (512..=65536).contains(&page);
    if have < HEADER || !known || !sum.is(&header[24..]) {
        // SQLite takes no frame from such a log. A header is synced before frames follow, and it is wiped on purpose
        // after keys were destroyed: zeros are no torn bytes.
        found.torn_bytes = if header.iter().all(|&b| b == 0) { 0 } else { length };
        return Ok(found);
    }
    scan_frames(&mut reader, &header[16..24], page, sum, &mut found)?;
    Ok(found)
}

fn scan_frames(reader: &mut impl Read, salts: &[u8], page: usize, mut sum: Sum, found: &mut WalScan) -> io::Result<()> {
    let mut frame = vec![0u8; FRAME_HEADER + page];
    let mut number = 0u64;
    let mut broken_at = None;
    let mut commits_after_break = 0u64;
    let mut since_commit = 0u64;
    loop {
        let have = fill(reader, &mut frame)?;
        // Frames of an earlier generation of the log carry other salts: what is left of it is no part of this one.
        if have < 16 || &frame[8..16] != salts {
            break;
        }
        number += 1;
        since_commit += have as u64;
        let commit = have >= 8 && be32(&frame[4..]) != 0;
        if broken_at.is_none() {
            let next = sum.add(&frame[..8]).add(frame.get(FRAME_HEADER..have).unwrap_or_default());
            if have == frame.len() && next.is(&frame[16..24]) {
                sum = next;
                if commit {
                    found.commits += 1;
                    found.frames = number;
                    since_commit = 0;
                }
                continue;
            }
            broken_at = Some(number);
        }
        commits_after_break += u64::from(commit && have == frame.len());
    }
    found.torn_bytes = since_commit;
    found.damaged = broken_at.filter(|_| commits_after_break >= 2);
    Ok(())
}
