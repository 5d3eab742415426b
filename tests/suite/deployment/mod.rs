//! What `docker/` holds, checked without an engine: files that can be read, names that exist, queries that run.

mod compose;
mod dashboards;
mod prometheus;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// `docker/`
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker")
}

/// A YAML file's content. Debian's Python reads it: two readers would be one too many.
fn yaml(path: &Path) -> Value {
    let reader = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let read = Command::new("/usr/bin/python3").args(["-c", reader]).arg(path).output();
    let read = read.expect("/usr/bin/python3 runs (Debian: python3-yaml)");
    let words = String::from_utf8_lossy(&read.stderr).into_owned();
    assert!(read.status.success(), "{}: {words} (tests/run installs python3-yaml)", path.display());
    serde_json::from_slice(&read.stdout).expect("JSON")
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
