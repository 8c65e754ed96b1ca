//! The one place that reads environment variables.

/// A variable that is set and not empty.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// All variables that are text.
pub(crate) fn all() -> impl Iterator<Item = (String, String)> {
    // What is not UTF-8 is no setting of ours.
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
