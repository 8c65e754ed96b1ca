//! Avro: values lie one after the other, told apart by the schema alone, so that each has something in its place.

mod agree;
mod locate;
mod mask;
mod readers;

pub(super) use agree::{agree, word};
pub(super) use locate::locate;
pub(super) use mask::{change, coarse, first_day, whole, whole_bucket};
pub(super) use readers::view_schema;
