//! The wire, as an adversary would use it.
