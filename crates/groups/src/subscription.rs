//! The topics inside a consumer's metadata.
