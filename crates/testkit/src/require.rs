//! Tests that need something from outside say so when it is missing, loudly, or fail where it must be there.

/// Set to `1` where every server and privilege is expected: a skip is a failure then.
const REQUIRE: &str = "TRADELANE_REQUIRE_SERVERS";

/// Says that a test is skipped for want of `what`.
///
/// # Panics
/// If `TRADELANE_REQUIRE_SERVERS=1`.
#[expect(clippy::disallowed_methods, reason = "tests have no other configuration")]
pub fn require_or_skip(what: &str) {
    assert!(std::env::var_os(REQUIRE).is_none_or(|value| value != "1"), "{REQUIRE}=1, but {what} is not available");
    eprintln!("SKIPPED: {what} is not available (set {REQUIRE}=1 to make this a failure)");
}
