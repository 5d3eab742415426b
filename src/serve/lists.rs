//! The filters' lists: the seed, or what `USER_AGENTS_PATH` has over it.
//!
//! Files in the folder itself hold from the beginning of time. A subfolder named by a date (`2026-03-01`) is a version
//! that holds from that day on, so that a recount of February still judges by February's lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use castback_rules::lists::{DatedLists, ListTexts, Lists};
use castback_schemas::{Day, Micros};

/// Folders of versions, by the day from which they hold.
type Versions = Vec<(Day, PathBuf)>;

/// Reads and compiles all versions. Blocks for a second or so.
pub(crate) fn load(folder: Option<&Path>) -> anyhow::Result<DatedLists> {
    let Some(folder) = folder else { return Ok(DatedLists::new(compiled(&ListTexts::seed(), Micros(0))?)) };
    let (files, versions) = contents(folder)?;
    let first = if files.is_empty() { ListTexts::seed() } else { texts(folder, &files)? };
    let mut lists = DatedLists::new(compiled(&first, Micros(0))?);
    for (day, version) in versions {
        let (files, _) = contents(&version)?;
        lists.add(compiled(&texts(&version, &files)?, day.start())?);
    }
    Ok(lists)
}

fn compiled(texts: &ListTexts, valid_from: Micros) -> anyhow::Result<Arc<Lists>> {
    Ok(Arc::new(Lists::new(texts, valid_from).context("the filters' lists can't be used")?))
}

/// The files of a folder, and its subfolders that are named by a date.
fn contents(folder: &Path) -> anyhow::Result<(Vec<PathBuf>, Versions)> {
    let unreadable = || format!("USER_AGENTS_PATH: {} can't be read", folder.display());
    let (mut files, mut versions) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() {
            files.push(path);
        } else if let Ok(day) = name.parse() {
            versions.push((day, path));
        }
    }
    files.sort();
    Ok((files, versions))
}

fn texts(folder: &Path, files: &[PathBuf]) -> anyhow::Result<ListTexts> {
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Other files may lie there, also such as are no text: they are no lists.
        fs::read_to_string(path).ok().map(|text| (name, text))
    };
    let texts = ListTexts::from_files(files.iter().filter_map(read));
    texts.with_context(|| format!("USER_AGENTS_PATH: {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTS: &str = r#"{"entries": [{"name": "One", "pattern": "^OneBot"}]}"#;

    #[test]
    fn versions_hold_from_their_day_on() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("2026-03-01")).unwrap();
        fs::write(folder.path().join("2026-03-01/bots.json"), BOTS).unwrap();
        let lists = load(Some(folder.path())).unwrap();
        let version = |time: &str| lists.at(time.parse().unwrap()).version.clone();
        assert!(version("2026-02-28").starts_with("seed-"));
        assert!(version("2026-03-01").starts_with("files-"));
    }

    #[test]
    fn a_folder_without_lists_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "nothing").unwrap();
        let error = load(Some(folder.path())).unwrap_err();
        assert!(error.to_string().contains("USER_AGENTS_PATH"), "{error}");
        assert!(load(Some(&folder.path().join("missing"))).is_err());
    }
}
