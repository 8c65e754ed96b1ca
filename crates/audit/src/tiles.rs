//! Paths and bytes of C2SP tlog-tiles: `checkpoint`, `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]`.
//!
//! Pure parsing and printing; it does not know where tiles come from.

use crate::merkle::{Hash, TILE_WIDTH};

/// Longest path that names a resource.
const MAX_PATH: usize = 64;

/// A resource of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// The signed checkpoint. The only resource that changes.
    Checkpoint,
    /// Hashes: level, tile number, width (1 to 256).
    Tile(u8, u64, u16),
    /// Entries: tile number, width (1 to 256).
    Entries(u64, u16),
}

impl Resource {
    /// Reads a path as the specification writes it; any other spelling names nothing.
    pub fn parse(path: &str) -> Option<Self> {
        if path.len() > MAX_PATH {
            return None;
        }
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (number, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH as u16),
            Some((number, width)) => (number, decimal(width, 255).filter(|&w| w > 0)? as u16),
        };
        let number = parse_number(number)?;
        match kind {
            "entries" => Some(Self::Entries(number, width)),
            level => Some(Self::Tile(decimal(level, 63)? as u8, number, width)),
        }
    }

    /// The path, without a leading slash.
    pub fn path(&self) -> String {
        let partial = |width: u16| if u64::from(width) == TILE_WIDTH { String::new() } else { format!(".p/{width}") };
        match *self {
            Self::Checkpoint => "checkpoint".into(),
            Self::Tile(level, number, width) => format!("tile/{level}/{}{}", number_path(number), partial(width)),
            Self::Entries(number, width) => format!("tile/entries/{}{}", number_path(number), partial(width)),
        }
    }

    /// Whether its bytes can never change, and may be cached for ever.
    pub fn immutable(&self) -> bool {
        !matches!(self, Self::Checkpoint)
    }

    /// The media type that the specification asks for.
    pub fn content_type(&self) -> &'static str {
        if self.immutable() { "application/octet-stream" } else { "text/plain; charset=utf-8" }
    }
}

/// A decimal number without leading zeroes, up to `max`.
fn decimal(text: &str, max: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = if plain { text.parse().ok()? } else { return None };
    (number <= max && (text.len() == 1 || !text.starts_with('0'))).then_some(number)
}

/// `1234067` as `x001/x234/067`.
fn number_path(number: u64) -> String {
    let mut path = format!("{:03}", number % 1_000);
    let mut rest = number / 1_000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1_000);
        rest /= 1_000;
    }
    path
}

fn parse_number(path: &str) -> Option<u64> {
    let mut number: u64 = 0;
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        let digits = if parts.peek().is_some() { part.strip_prefix('x')? } else { part };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        number = number.checked_mul(1_000)?.checked_add(digits.parse().ok()?)?;
    }
    // One spelling per number: no superfluous leading elements.
    (number_path(number) == path).then_some(number)
}

/// The hashes of a tile of the given width, if the bytes are one.
pub fn parse_tile(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == usize::from(width)).then(|| hashes.to_vec())
}

/// Writes entries as an entry bundle: each behind its length, two bytes big-endian.
pub fn write_bundle(entries: &[Hash]) -> Vec<u8> {
    let mut bundle = Vec::with_capacity(entries.len() * 34);
    for entry in entries {
        bundle.extend_from_slice(&[0, 32]);
        bundle.extend_from_slice(entry);
    }
    bundle
}

/// The entries of a bundle, of any size each; `None` if the bytes are no bundle of at most 256 entries.
pub fn parse_bundle(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        rest = after;
        if entries.len() as u64 > TILE_WIDTH {
            return None;
        }
    }
    rest.is_empty().then_some(entries)
}

/// Every resource of a log of that size, the checkpoint first: what an export writes.
pub fn all_resources(size: u64) -> impl Iterator<Item = Resource> {
    let entries = widths(size).map(|(number, width)| Resource::Entries(number, width));
    let tiles = (0..crate::merkle::levels(size)).flat_map(move |level| {
        let hashes = size >> (8 * u32::from(level));
        widths(hashes).map(move |(number, width)| Resource::Tile(level, number, width))
    });
    std::iter::once(Resource::Checkpoint).chain(entries).chain(tiles)
}

/// Tile numbers and widths over so many hashes.
pub(crate) fn widths(hashes: u64) -> impl Iterator<Item = (u64, u16)> {
    let full = hashes / TILE_WIDTH;
    let partial = (hashes % TILE_WIDTH) as u16;
    (0..full).map(|number| (number, TILE_WIDTH as u16)).chain((partial > 0).then_some((full, partial)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_as_it_was_written() {
        for resource in [
            Resource::Checkpoint,
            Resource::Tile(0, 0, 256),
            Resource::Tile(3, 1_234_067, 256),
            Resource::Tile(63, 999, 1),
            Resource::Entries(1_000, 255),
            Resource::Entries(u64::MAX, 256),
        ] {
            assert_eq!(Resource::parse(&resource.path()), Some(resource), "{}", resource.path());
        }
        assert_eq!(Resource::Tile(0, 1_234_067, 12).path(), "tile/0/x001/x234/067.p/12");
    }

    #[test]
    fn another_spelling_names_nothing() {
        for path in [
            "",
            "/checkpoint",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/0/0",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/-01",
            "tile/entries/../../etc",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/0/+12",
        ] {
            assert_eq!(Resource::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_bundle_reads_back_and_a_cut_one_does_not() {
        let bundle = write_bundle(&[[7; 32], [8; 32]]);
        assert_eq!(parse_bundle(&bundle).unwrap(), vec![&[7u8; 32][..], &[8u8; 32][..]]);
        assert!(parse_bundle(&bundle[..bundle.len() - 1]).is_none());
        assert!(parse_bundle(&[0]).is_none());
    }

    #[test]
    fn a_log_of_70000_leaves_has_the_tiles_of_the_specifications_example() {
        let tiles: Vec<Resource> =
            all_resources(70_000).filter(|resource| matches!(resource, Resource::Tile(..))).collect();
        assert_eq!(tiles.iter().filter(|tile| matches!(tile, Resource::Tile(0, _, 256))).count(), 273);
        assert!(tiles.contains(&Resource::Tile(0, 273, 112)));
        assert!(tiles.contains(&Resource::Tile(1, 0, 256)));
        assert!(tiles.contains(&Resource::Tile(1, 1, 17)));
        assert!(tiles.contains(&Resource::Tile(2, 0, 1)));
        assert_eq!(tiles.len(), 277);
    }
}
