//! The peers' way of validating: a DOM, and the same library on it. Only for benchmarks.

use serde_json::Value;

/// A schema compiled for DOMs.
pub struct Peer(jsonschema::Validator);

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peer")
    }
}

impl Peer {
    /// Compiles a schema; none if it is not one.
    pub fn compile(schema: &Value) -> Option<Self> {
        jsonschema::options().should_validate_formats(true).build(schema).ok().map(Self)
    }

    /// Parses a document to a DOM and validates it.
    pub fn parse_and_validate(&self, json: &[u8]) -> bool {
        serde_json::from_slice::<Value>(json).is_ok_and(|value| self.0.is_valid(&value))
    }
}
