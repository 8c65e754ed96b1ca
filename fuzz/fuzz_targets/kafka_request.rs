//! A frame, from its head to its decoded body, as a connection of the Kafka listener takes it. The wire is compiled in as it
//! is, since the crate around it brings the whole hub.
#![no_main]
#![allow(dead_code, unreachable_pub, unused_imports)]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/kafka/src/wire/mod.rs"]
mod wire;

fuzz_target!(|frame: &[u8]| {
    wire::any::is_request(bytes::Bytes::copy_from_slice(frame));
});
