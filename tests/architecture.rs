//! The house rules that a compiler can't keep: who may depend on whom, who owns a heavy dependency, how the tree
//! looks, what every table must list. A failing test here names the file that breaks the rule.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::{Table, Value};

/// Package folder and the packages of ours that it may depend on. The root may depend on all of them.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("connectors/broker", &["schemas"]),
    ("pipeline/rules", &["schemas"]),
    ("pipeline/catalogue", &["schemas"]),
    ("pipeline/store", &["schemas", "rules", "catalogue"]),
    ("connectors", &["schemas", "broker", "catalogue"]),
    ("pipeline", &["schemas", "rules", "broker", "catalogue", "store"]),
    ("api", &["schemas", "rules", "broker", "catalogue", "store", "connectors"]),
    (".", &["schemas", "rules", "broker", "catalogue", "store", "connectors", "pipeline", "api"]),
];

/// A heavy dependency and the one package whose product code may use it.
const OWNERS: &[(&str, &str)] = &[
    ("rdkafka", "connectors/broker"),
    ("fjall", "connectors/broker"),
    ("feed-rs", "connectors"),
    ("reqwest", "connectors"),
    ("apache-avro", "schemas"),
    ("arrow-avro", "schemas"),
    ("sqlx", "pipeline/catalogue"),
    ("datafusion", "pipeline/store"),
    ("parquet", "pipeline/store"),
    ("influxdb2", "pipeline/store"),
    ("printpdf", "api"),
    ("anyhow", "."),
];

/// All that a visitor sees at the top; tool configuration goes into dotfiles.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "api",
    "benches",
    "connectors",
    "docker",
    "pipeline",
    "schemas",
    "src",
    "tests",
];

/// What a run leaves behind; ignored by git too.
const LEFT_BEHIND: &[&str] = &["target", "castback-data", "castback-demo"];

const NAMES_THAT_SAY_NOTHING: &[&str] = &["util", "utils", "common", "helpers", "misc", "types", "v2"];

const FILE_LINES: usize = 500;

/// Each value on a topic begins with these (the contract, "Topics").
const COMMON_FIELDS: &[&str] = &["event_id", "account_id", "occurred_at", "recorded_at", "revision"];

const TOPICS: &[&str] = &[
    "alerts-critical",
    "alerts-high",
    "alerts-low",
    "alerts-medium",
    "anomalies",
    "app-events",
    "campaign-changes",
    "campaign-performance",
    "conversions",
    "dead-letters",
    "feed-updates",
    "friction-signals",
    "listener-requests",
    "support-triggers",
    "user-changes",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(package: &str) -> Table {
    let path = root().join(package).join("Cargo.toml");
    read(&path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names under `[dependencies]` and `[build-dependencies]`, also those of one target only.
fn product_dependencies(manifest: &Table) -> BTreeSet<String> {
    let sections = ["dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    tables
        .flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flat_map(|section| section.keys().cloned())
        .collect()
}

/// Every file of the tree but git's own and what a run leaves behind.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == ".git" || (folder == root() && LEFT_BEHIND.contains(&name.as_str())) {
                continue;
            }
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The path as written in documents: from the top, with slashes.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Rust files somewhere under a folder of this name, `mod.rs` apart.
fn files_of_folder(folder: &str) -> Vec<PathBuf> {
    rust_files()
        .into_iter()
        .filter(|path| !shown(path).starts_with("tests/"))
        .filter(|path| path.parent().and_then(Path::file_name).is_some_and(|parent| parent == folder))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "mod"))
        .collect()
}

/// The text of the table `NAME`: from its definition to the closing `];`.
fn table_text(name: &str) -> Option<String> {
    let heads = [format!("const {name}:"), format!("static {name}:")];
    rust_files().iter().filter(|path| !shown(path).starts_with("tests/")).find_map(|path| {
        let text = read(path);
        let start = heads.iter().find_map(|head| text.find(head.as_str()))?;
        let length = text[start..].find("];")?;
        Some(text[start..start + length].to_owned())
    })
}

/// What reports share: none of their own.
const SHARED: [&str; 1] = ["episodes.rs"];

fn assert_every_file_has_its_row(folder: &str, table: &str) {
    let files = files_of_folder(folder);
    if files.is_empty() {
        return;
    }
    let rows = table_text(table).unwrap_or_else(|| panic!("no table {table} lists the files of {folder}/"));
    for path in files.into_iter().filter(|path| !SHARED.iter().any(|shared| path.ends_with(shared))) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(rows.contains(&format!("{stem}::")), "{} has no row in {table}", shown(&path));
    }
}

#[test]
fn packages_depend_downwards_only() {
    let members = manifest(".")["workspace"]["members"].as_array().expect("members").clone();
    let known: BTreeSet<&str> = DIRECTIONS.iter().map(|(folder, _)| *folder).collect();
    for member in &members {
        let member = member.as_str().expect("a folder");
        assert!(known.contains(member), "{member} has no row in DIRECTIONS");
    }
    for (folder, allowed) in DIRECTIONS {
        for dependency in product_dependencies(&manifest(folder)) {
            let Some(ours) = dependency.strip_prefix("castback-") else { continue };
            assert!(allowed.contains(&ours), "{folder}/Cargo.toml: {dependency} is above it or beside it");
        }
    }
}

#[test]
fn heavy_dependencies_have_one_owner() {
    for (folder, _) in DIRECTIONS {
        for dependency in product_dependencies(&manifest(folder)) {
            if let Some((_, owner)) = OWNERS.iter().find(|(heavy, _)| *heavy == dependency) {
                assert_eq!(folder, owner, "{folder}/Cargo.toml: {dependency} belongs to {owner}");
            }
        }
    }
}

#[test]
fn the_language_has_no_async_and_no_io() {
    let dependencies = product_dependencies(&manifest("schemas"));
    for forbidden in ["tokio", "futures", "async-trait", "tokio-stream", "hyper", "axum"] {
        assert!(!dependencies.contains(forbidden), "schemas/Cargo.toml: {forbidden}");
    }
}

#[test]
fn processors_are_pure() {
    let effects = ["std::fs", "std::net", "SystemTime", "Instant::", "rand::", "tokio::", "async fn", ".await"];
    let of_processors = |path: &PathBuf| shown(path).starts_with("pipeline/src/processors/");
    for path in rust_files().into_iter().filter(of_processors) {
        let text = read(&path);
        for word in effects {
            assert!(!text.contains(word), "{}: {word}", shown(&path));
        }
    }
}

#[test]
fn no_report_knows_pdf() {
    for path in files_of_folder("reports") {
        assert!(!read(&path).contains("printpdf"), "{} knows PDF", shown(&path));
    }
}

#[test]
fn every_package_takes_the_workspace_lints() {
    for (folder, _) in DIRECTIONS {
        let inherits = manifest(folder).get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(inherits, Some(true), "{folder}/Cargo.toml: [lints] workspace = true is missing");
    }
    let workspace = &manifest(".")["workspace"]["lints"];
    assert_eq!(workspace["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for lint in ["unwrap_used", "expect_used", "panic", "todo", "dbg_macro", "print_stdout", "allow_attributes"] {
        assert_eq!(workspace["clippy"][lint].as_str(), Some("deny"), "clippy::{lint}");
    }
}

#[test]
fn lints_are_expected_with_a_reason_never_allowed() {
    let forbidden = [concat!("#[", "allow("), concat!("#![", "allow("), concat!("#[", "ignore")];
    for path in rust_files() {
        let text = read(&path);
        for attribute in forbidden {
            assert!(!text.contains(attribute), "{}: {attribute}", shown(&path));
        }
    }
}

#[test]
fn no_file_is_over_500_lines() {
    let kinds = ["rs", "md", "sql", "toml", "avsc", "py", "sh"];
    let long = files().into_iter().filter(|path| path.extension().is_some_and(|end| kinds.iter().any(|k| end == *k)));
    for path in long {
        let lines = read(&path).lines().count();
        assert!(lines <= FILE_LINES, "{}: {lines} lines want a second room", shown(&path));
    }
}

#[test]
fn names_say_something() {
    for path in files() {
        for part in &PathBuf::from(shown(&path)) {
            let part = part.to_string_lossy();
            let stem = part.split('.').next().unwrap_or_default();
            let empty = NAMES_THAT_SAY_NOTHING.contains(&stem) || stem.ends_with("_v2");
            assert!(!empty, "{}: {stem} says nothing", shown(&path));
        }
    }
}

#[test]
fn the_top_level_is_fixed() {
    let found: BTreeSet<String> = fs::read_dir(root())
        .expect("the top")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && !LEFT_BEHIND.contains(&name.as_str()))
        .collect();
    let fixed: BTreeSet<String> = TOP_LEVEL.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, fixed);
}

#[test]
fn every_path_that_the_readme_names_exists() {
    let readme = read(&root().join("README.md"));
    let mut named = 0;
    for path in readme.split('`').skip(1).step_by(2).filter(|word| is_path(word)).flat_map(braces) {
        named += 1;
        assert!(root().join(&path).exists(), "README.md names {path}, which isn't there");
    }
    assert!(named > 20, "README.md has no map: {named} paths");
}

/// Whether a word in backticks is a path of this repository.
fn is_path(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/{},".contains(c);
    let top = word.split('/').next().unwrap_or_default();
    word.chars().all(plain) && word.contains('/') && (TOP_LEVEL.contains(&top) || top == ".ci")
}

/// `relay/{topics,influx}.rs` is two paths.
fn braces(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        Some((head, (names, tail))) => names.split(',').map(|name| format!("{head}{name}{tail}")).collect(),
        None => vec![path.to_owned()],
    }
}

#[test]
fn every_processor_source_and_report_has_its_row() {
    assert!(!files_of_folder("processors").is_empty(), "no processor is there");
    assert_every_file_has_its_row("processors", "PROCESSORS");
    assert_every_file_has_its_row("groups", "GROUPS");
    assert_every_file_has_its_row("sources", "SOURCES");
    assert_every_file_has_its_row("reports", "REPORTS");
}

fn schemas() -> BTreeMap<String, Json> {
    let folder = root().join("schemas/avro");
    fs::read_dir(&folder)
        .expect("schemas/avro")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let schema =
                serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), schema)
        })
        .collect()
}

fn fields(schema: &Json) -> Vec<(String, &Json)> {
    let fields = schema["fields"].as_array().expect("a record has fields");
    fields.iter().map(|field| (field["name"].as_str().expect("a name").to_owned(), field)).collect()
}

#[test]
fn every_topic_has_a_schema_that_begins_alike() {
    let schemas = schemas();
    assert_eq!(schemas.keys().map(String::as_str).collect::<Vec<_>>(), TOPICS);
    for (topic, schema) in &schemas {
        assert_eq!(schema["namespace"], "castback.v1", "{topic}");
        let names: Vec<String> = fields(schema).into_iter().map(|(name, _)| name).collect();
        assert!(names.len() >= COMMON_FIELDS.len(), "{topic}");
        assert_eq!(names[..COMMON_FIELDS.len()], *COMMON_FIELDS, "{topic}");
    }
}

/// `tests/fixtures/avro-fields.txt` holds the fields of the first release. They stay as they are, and a field that
/// came later has a default: so old readers read new records, and new readers old ones (`FULL_TRANSITIVE`).
#[test]
fn schemas_only_grow_by_optional_fields() {
    let schemas = schemas();
    let mut released: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let baseline = read(&root().join("tests/fixtures/avro-fields.txt"));
    for line in baseline.lines() {
        let mut words = line.splitn(3, ' ');
        let (topic, name, kind) = (words.next(), words.next(), words.next());
        let (Some(topic), Some(name), Some(kind)) = (topic, name, kind) else { panic!("a line of three: {line}") };
        released.entry(topic).or_default().insert(name);
        let now = fields(&schemas[topic]).into_iter().find(|(field, _)| field == name);
        let (_, field) = now.unwrap_or_else(|| panic!("{topic}: {name} is gone; old records have it"));
        let kind: Json = serde_json::from_str(kind).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(field["type"], kind, "{topic}: {name} has another type");
    }
    for (topic, schema) in &schemas {
        for (name, field) in fields(schema) {
            let known = released.get(topic.as_str()).is_some_and(|names| names.contains(name.as_str()));
            assert!(known || field.get("default").is_some(), "{topic}: {name} is new and has no default");
        }
    }
}
