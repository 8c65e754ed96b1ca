//! Batches through the public interface: built, parsed, damaged, patched, rewritten.

mod build;
