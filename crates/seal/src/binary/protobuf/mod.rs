//! Protobuf: fields carry their numbers, so that what is left out is simply not there; lengths are counted anew.

mod agree;
mod locate;
mod mask;

pub(super) use agree::agree;
pub(super) use locate::locate;
pub(super) use mask::change;
