//! Where objects lie: a directory or an S3 bucket. Objects are written once under a fresh
//! name, durably, and never changed.
//!
//! `object_store`'s own directory writer syncs neither file nor directory, so files are
//! written here: data synced, linked under their name (which fails if it is taken), directory
//! synced. Readers never see half an object.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use castback_schemas::Micros;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

use crate::error::{Result, StoreError};
use crate::failpoint;

/// The objects of an installation.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    directory: Option<Arc<FilePath>>,
    address: Arc<str>,
}

impl Objects {
    /// Opens `file:///directory` (made if missing) or `s3://bucket/prefix` (credentials and
    /// endpoint from the usual `AWS_*` variables).
    ///
    /// # Errors
    /// An address of another kind, a directory that can't be made, incomplete S3 settings.
    pub fn open(address: &str) -> Result<Self> {
        let url = Url::parse(address).map_err(|_| StoreError::Address(address.to_owned()))?;
        match url.scheme() {
            "file" => Self::open_directory(&url, address),
            "s3" => Self::open_bucket(&url, address),
            _ => Err(StoreError::Address(address.to_owned())),
        }
    }

    fn open_directory(url: &Url, address: &str) -> Result<Self> {
        let directory = url.to_file_path().map_err(|()| StoreError::Address(address.to_owned()))?;
        make_directory(&directory).map_err(|error| StoreError::Directory(Arc::new(error)))?;
        let directory = fs::canonicalize(directory).map_err(|error| StoreError::Directory(Arc::new(error)))?;
        let store = LocalFileSystem::new_with_prefix(&directory).map_err(|error| StoreError::Open(Arc::new(error)))?;
        Ok(Self { store: Arc::new(store), directory: Some(directory.into()), address: address.into() })
    }

    fn open_bucket(url: &Url, address: &str) -> Result<Self> {
        Self::in_bucket(AmazonS3Builder::from_env(), url, address)
    }

    fn in_bucket(settings: AmazonS3Builder, url: &Url, address: &str) -> Result<Self> {
        let bucket = url.host_str().ok_or_else(|| StoreError::Address(address.to_owned()))?;
        let store = settings.with_bucket_name(bucket).build().map_err(|error| StoreError::Open(Arc::new(error)))?;
        let prefix = Path::parse(url.path().trim_matches('/')).map_err(|_| StoreError::Address(address.to_owned()))?;
        Ok(Self { store: Arc::new(PrefixStore::new(store, prefix)), directory: None, address: address.into() })
    }

    /// The address that [`Objects::open`] was given.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Writes an object that is not there yet; when this returns it survives a power cut.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::Full`], or the disk's or store's answer.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<()> {
        failpoint::hit("put.before");
        if let Some(directory) = &self.directory {
            let path = directory.join(key);
            let written = tokio::task::spawn_blocking(move || write_new(&path, &bytes)).await;
            written.map_err(|_| StoreError::BrokenOff)?.map_err(|error| write_error(key, error))?;
        } else {
            let options = PutOptions::from(PutMode::Create);
            let put = self.store.put_opts(&path_of(key)?, PutPayload::from_bytes(bytes), options).await;
            put.map_err(|error| put_error(key, error))?;
        }
        failpoint::hit("put.after");
        Ok(())
    }

    /// A whole object.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store's answer.
    pub async fn get(&self, key: &str) -> Result<Bytes> {
        let result = self.store.get(&path_of(key)?).await.map_err(|error| get_error(key, error))?;
        result.bytes().await.map_err(|error| get_error(key, error))
    }

    /// A range of an object.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Corrupt`] if the object is shorter, or the store's answer.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let wanted = range.end - range.start;
        let bytes = self.store.get_range(&path_of(key)?, range).await.map_err(|error| get_error(key, error))?;
        if u64::try_from(bytes.len()).ok() != Some(wanted) {
            return Err(StoreError::Corrupt { key: key.to_owned(), detail: "it is too short".to_owned() });
        }
        Ok(bytes)
    }

    /// Removes an object; one that is gone already is removed too.
    ///
    /// # Errors
    /// The store's answer.
    pub async fn remove(&self, key: &str) -> Result<()> {
        match self.store.delete(&path_of(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::Remove { key: key.to_owned(), source: Arc::new(error) }),
        }
    }

    /// Puts other bytes in an object's place, as damage would.
    #[cfg(test)]
    pub(crate) async fn damage(&self, key: &str, bytes: Bytes) {
        self.store.put(&path_of(key).unwrap(), PutPayload::from_bytes(bytes)).await.unwrap();
    }

    /// The keys under `prefix` that were last written before `before`.
    ///
    /// # Errors
    /// The store's answer.
    pub async fn written_before(&self, prefix: &str, before: Micros) -> Result<Vec<String>> {
        let listed = self.store.list(Some(&path_of(prefix)?));
        let objects: Vec<_> = listed.try_collect().await.map_err(|error| StoreError::List(Arc::new(error)))?;
        let old = objects.into_iter().filter(|object| object.last_modified.timestamp_micros() < before.0);
        Ok(old.map(|object| object.location.to_string()).collect())
    }
}

/// The path of a key.
fn path_of(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|_| StoreError::Address(key.to_owned()))
}

/// Makes a directory whose name survives a power cut.
fn make_directory(directory: &FilePath) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().unwrap_or(directory);
    make_directory(parent)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

fn write_new(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    make_directory(directory)?;
    let staging = staging_of(path);
    let linked = write_synced(&staging, bytes).and_then(|()| fs::hard_link(&staging, path));
    // Whatever happened, the staging name has done its work; left behind it is swept later.
    let removed = fs::remove_file(&staging);
    linked?;
    removed?;
    File::open(directory)?.sync_all()
}

fn write_synced(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn staging_of(path: &FilePath) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".staging");
    PathBuf::from(name)
}

fn write_error(key: &str, error: io::Error) -> StoreError {
    let key = key.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { key },
        io::ErrorKind::AlreadyExists => StoreError::Exists { key },
        _ => StoreError::Write { key, source: Arc::new(error) },
    }
}

fn put_error(key: &str, error: object_store::Error) -> StoreError {
    let key = key.to_owned();
    match error {
        object_store::Error::AlreadyExists { .. } => StoreError::Exists { key },
        error => StoreError::Put { key, source: Arc::new(error) },
    }
}

fn get_error(key: &str, error: object_store::Error) -> StoreError {
    let key = key.to_owned();
    match error {
        object_store::Error::NotFound { .. } => StoreError::Missing { key },
        error => StoreError::Get { key, source: Arc::new(error) },
    }
}

#[cfg(test)]
#[path = "objects_bucket_tests.rs"]
pub(crate) mod bucket_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(directory: &tempfile::TempDir) -> Objects {
        let address = Url::from_directory_path(directory.path()).unwrap();
        Objects::open(address.as_str()).unwrap()
    }

    /// What holds of every place that objects lie in.
    pub(super) async fn put_once_and_read_back(objects: &Objects) {
        objects.put("commits/a", Bytes::from_static(b"0123456789")).await.unwrap();
        let again = objects.put("commits/a", Bytes::from_static(b"other")).await;
        assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
        assert_eq!(objects.get("commits/a").await.unwrap(), "0123456789");
        assert_eq!(objects.get_range("commits/a", 2..5).await.unwrap(), "234");
        assert!(objects.get_range("commits/a", 8..12).await.is_err());
    }

    #[tokio::test]
    async fn an_object_is_written_once_and_read_back_whole_or_in_part() {
        let directory = tempfile::tempdir().unwrap();
        let objects = objects(&directory);
        put_once_and_read_back(&objects).await;
        assert_eq!(fs::read_dir(directory.path().join("commits")).unwrap().count(), 1, "no staging file is left");
    }

    #[tokio::test]
    async fn a_missing_object_is_said_to_be_missing_and_removing_it_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let objects = objects(&directory);
        assert!(matches!(objects.get("commits/none").await, Err(StoreError::Missing { .. })));
        objects.remove("commits/none").await.unwrap();
        assert!(objects.written_before("commits", Micros(i64::MAX)).await.unwrap().is_empty());
    }

    #[test]
    fn only_directories_and_buckets_are_addresses() {
        for address in ["http://x/y", "objects", "memory:///", "file://host/x"] {
            assert!(matches!(Objects::open(address), Err(StoreError::Address(_))), "{address}");
        }
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let full = write_error("k", write_synced(FilePath::new("/dev/full"), b"x").unwrap_err());
        assert!(matches!(full, StoreError::Full { .. }));
    }
}
