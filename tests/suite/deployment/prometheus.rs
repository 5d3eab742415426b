//! Prometheus' own files, by Prometheus' own tool.

use std::path::Path;
use std::process::{Command, Stdio};

use super::folder;

/// Runs `promtool`; without it the test fails.
fn promtool(arguments: &[&str], folder: &Path) {
    let run = Command::new("promtool").args(arguments).current_dir(folder).stdin(Stdio::null()).output();
    let run = run.expect("promtool runs; tests/run installs it (Debian: prometheus)");
    let words = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "promtool {}:\n{words}", arguments.join(" "));
}

#[test]
fn the_rules_are_rules_and_fire_when_they_should() {
    let folder = folder().join("prometheus");
    promtool(&["check", "rules", "rules.yml"], &folder);
    promtool(&["test", "rules", "rules_test.yml"], &folder);
}

#[test]
fn the_configuration_is_one() {
    promtool(&["check", "config", "prometheus.yml"], &folder().join("prometheus"));
}
