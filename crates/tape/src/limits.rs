//! How much of a document is accepted before it is refused.

/// Bounds of one parse. They also bound the memory that it may take: at most 16 bytes per node on the tape, 24 per
/// level of depth, and 8 per member of the largest object while its names are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest document, in bytes. Documents of 4 GiB and more are refused whatever is said here.
    pub max_bytes: usize,
    /// Deepest nesting of arrays and objects. A document that is one scalar has depth 0.
    /// Values above [`Limits::MOST_DEPTH`] mean that.
    pub max_depth: u16,
    /// Most entries on the tape: each value counts one, and each member name counts one more.
    /// Values above [`Limits::MOST_NODES`] mean that.
    pub max_nodes: u32,
}

impl Limits {
    /// One published event: 1 MiB, 64 levels, 100,000 nodes.
    pub const EVENT: Limits = Limits { max_bytes: 1 << 20, max_depth: 64, max_nodes: 100_000 };

    /// A whole document that carries many events: 16 MiB, 64 levels, a million nodes.
    pub const DOCUMENT: Limits = Limits { max_bytes: 16 << 20, max_depth: 64, max_nodes: 1_000_000 };

    /// The tape's own bound on depth. The parse itself would take any, but what walks over a document later may be
    /// recursive, and must be able to rely on a bound.
    pub const MOST_DEPTH: u16 = 128;

    /// The tape's own bound on entries (2^27 - 1), from the width of its counters.
    pub const MOST_NODES: u32 = (1 << 27) - 1;

    /// Longest number, in bytes. No value needs more (a double's exact decimal expansion has at most 1,076 bytes), and
    /// arithmetic on longer ones is a way to burn a reader's time.
    pub const NUMBER_BYTES: usize = 1_100;
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DOCUMENT
    }
}
