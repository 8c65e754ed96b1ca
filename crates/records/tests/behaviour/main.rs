//! Batches through the public interface: built, parsed, damaged, decompressed, rewritten; and as other clients write them.

mod build;
mod damage;
mod decompress;
mod fixtures;
mod peer;
mod rewrite;
