//! How a command ends badly: what a person reads, and the exit code.

use std::fmt;
use std::process::ExitCode;

/// The command can't be run as asked: settings or arguments don't fit. Exit code 2; one line each.
#[derive(Debug)]
pub(crate) struct BadUsage(pub(crate) Vec<String>);

impl fmt::Display for BadUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for BadUsage {}

impl BadUsage {
    /// One reason.
    pub(crate) fn because(reason: impl Into<String>) -> anyhow::Error {
        Self(vec![reason.into()]).into()
    }
}

/// 2 for bad usage or configuration, 1 for everything else.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(<dyn std::error::Error>::is::<BadUsage>) { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The error and its causes, one a line.
pub(crate) fn in_words(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let words = cause.to_string();
        // An error that only repeats its cause's words says nothing new.
        if lines.last() != Some(&words) {
            lines.push(words);
        }
    }
    lines.join("\n  because: ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn bad_usage_is_found_below_its_context() {
        let error = Err::<(), _>(BadUsage::because("PUBLIC_URL: not a URL")).context("castback serve").unwrap_err();
        assert_eq!(exit_code(&error), ExitCode::from(2));
        assert_eq!(in_words(&error), "castback serve\n  because: PUBLIC_URL: not a URL");
        assert_eq!(exit_code(&anyhow::anyhow!("no space")), ExitCode::FAILURE);
    }
}
