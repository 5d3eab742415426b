//! What all processes of an installation must have in common beside the catalogue: the secret and the objects. The first
//! process records what it has, the others compare; else one would not understand what another has written.

use std::time::Duration;

use bytes::Bytes;
use castback_catalogue::Catalogue;
use castback_catalogue::installation::Common;
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::time::SECOND;
use castback_store::{Objects, StoreError};

use crate::failure::BadUsage;

/// The object by which an object store is known.
const OBJECT: &str = "installation";

/// Longest wait for the object store: who takes records can do so without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one process may take to name it, in microseconds; processes that start together come one after the other.
const NAMING: i64 = 10 * SECOND;

/// Between two looks at whether another has named it.
const LOOK: Duration = Duration::from_millis(100);

/// Refuses another secret than the other processes'. A process that is `alone` may have lost its secret: that is
/// recorded anew.
pub(super) async fn same_secret(catalogue: &Catalogue, secret: &HashKey, alone: bool) -> anyhow::Result<()> {
    let ours = fingerprint(secret, catalogue.installation().id.as_bytes()).to_string();
    let recorded = catalogue.record_common(Common::Secret, &ours).await?;
    if recorded == ours {
        return Ok(());
    }
    if !alone {
        return Err(BadUsage::because(
            "SECRET_KEY_FILE: this is not the secret of the installation's other processes. If theirs is lost for good, \
             stop them all and remove the row secret_fingerprint from the table meta of the catalogue: sessions and \
             quotas begin anew, nothing that was counted changes",
        ));
    }
    tracing::warn!("the secret is another than before: sessions and quotas begin anew");
    Ok(catalogue.replace_common(Common::Secret, &ours).await?)
}

/// Refuses another object store than the one in which the installation's objects are. One that does not answer is not
/// compared.
pub(super) async fn same_objects(catalogue: &Catalogue, objects: &Objects, owner: &str) -> anyhow::Result<()> {
    let installation = catalogue.installation().id;
    let found = if is_first(catalogue, owner).await? {
        tokio::time::timeout(PATIENCE, named(objects, format!("{installation} {owner}"))).await
    } else {
        tokio::time::timeout(PATIENCE, objects.get(OBJECT)).await
    };
    let found = match found {
        Ok(Ok(found)) => String::from_utf8_lossy(&found).into_owned(),
        Ok(Err(StoreError::Missing { .. })) => {
            return Err(refused("the objects of this installation are not there", objects));
        }
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "the object store was not compared");
            return Ok(());
        }
        Err(_) => {
            tracing::warn!(patience = ?PATIENCE, "the object store does not answer, and was not compared");
            return Ok(());
        }
    };
    let Some(name) = found.trim().strip_prefix(&format!("{installation} ")) else {
        return Err(refused("the objects there are another installation's", objects));
    };
    if catalogue.record_common(Common::Objects, name).await? != name {
        return Err(refused("the installation's other processes have another object store", objects));
    }
    Ok(())
}

/// Whether it falls to this process to name the object store.
async fn is_first(catalogue: &Catalogue, owner: &str) -> anyhow::Result<bool> {
    loop {
        if catalogue.common(Common::Objects).await?.is_some() {
            return Ok(false);
        }
        if catalogue.take_lease("installation", owner, NAMING).await? {
            return Ok(true);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn refused(why: &str, objects: &Objects) -> anyhow::Error {
    BadUsage::because(format!("OBJECT_STORE_URL: {why}: {}", objects.address()))
}

/// What an object store is named by: `name`, if it is not named yet.
async fn named(objects: &Objects, name: String) -> Result<Bytes, StoreError> {
    match objects.get(OBJECT).await {
        Err(StoreError::Missing { .. }) => {}
        known => return known,
    }
    match objects.put(OBJECT, Bytes::from(name)).await {
        Ok(()) | Err(StoreError::Exists { .. }) => objects.get(OBJECT).await,
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use castback_schemas::ManualClock;

    use super::*;

    async fn catalogue(folder: &tempfile::TempDir, name: &str) -> Catalogue {
        let url = format!("sqlite://{}", folder.path().join(name).display());
        Catalogue::open(&url, Arc::new(ManualClock::default()), [name.len().to_le_bytes()[0]; 32]).await.unwrap()
    }

    fn objects(folder: &tempfile::TempDir, name: &str) -> Objects {
        Objects::open(&format!("file://{}", folder.path().join(name).display())).unwrap()
    }

    fn words(refused: anyhow::Result<()>) -> String {
        refused.unwrap_err().downcast::<BadUsage>().unwrap().to_string()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_secret_is_refused_unless_a_process_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = catalogue(&folder, "a.db").await;
        let (ours, other) = (HashKey::from_bytes([1; 32]), HashKey::from_bytes([2; 32]));
        for _ in 0..2 {
            same_secret(&catalogue, &ours, false).await.unwrap();
        }
        assert!(words(same_secret(&catalogue, &other, false).await).contains("SECRET_KEY_FILE"));
        same_secret(&catalogue, &other, true).await.unwrap();
        assert!(words(same_secret(&catalogue, &ours, false).await).contains("SECRET_KEY_FILE"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_object_store_is_refused_and_so_are_another_installation_s_objects() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (catalogue(&folder, "a.db").await, catalogue(&folder, "other.db").await);
        let (objects, empty) = (objects(&folder, "objects"), objects(&folder, "empty"));
        for fresh in ["x", "y"] {
            same_objects(&first, &objects, fresh).await.unwrap();
        }
        assert!(words(same_objects(&first, &empty, "z").await).contains("are not there"));
        assert!(words(same_objects(&second, &objects, "z").await).contains("another installation"));
        // An empty one that was refused is as it was.
        same_objects(&second, &empty, "z").await.unwrap();
        assert_eq!(empty.get(OBJECT).await.unwrap(), format!("{} z", second.installation().id));
    }
}
