//! What the sealed event promises, one promise a test.

mod avro;
mod common;
mod hostile;
mod masks;
mod packed;
mod properties;
mod protobuf;
mod record;
mod unnamed;
