//! What the sealed event promises, one promise a test.

mod common;
mod hostile;
mod masks;
mod properties;
mod record;
mod unnamed;
