//! Passwords: argon2id with the parameters that OWASP recommends (19 MiB, 2 passes), which are
//! the crate's defaults.

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::error::{CatalogueError, Result};

/// Hashes made at a time: each takes 19 MiB and tens of milliseconds of a core. Others wait.
const AT_ONCE: usize = 2;

static HASHING: Semaphore = Semaphore::const_new(AT_ONCE);

/// A hash nobody's password has: verifying against it takes as long as against a real one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The hash to store, in PHC form.
pub(crate) async fn hash(password: SecretString, salt: [u8; 16]) -> Result<String> {
    off_the_runtime(move || {
        let hash = Argon2::default().hash_password_with_salt(password.expose_secret().as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|_| CatalogueError::Password)
    })
    .await?
}

/// Whether it is the password of the stored hash; the same work when there is none.
pub(crate) async fn verify(password: SecretString, stored: Option<String>) -> Result<bool> {
    off_the_runtime(move || {
        let hash = stored.as_deref().filter(|hash| !hash.is_empty());
        let matches = Argon2::default().verify_password(password.expose_secret().as_bytes(), hash.unwrap_or(NOBODY));
        hash.is_some() && matches.is_ok()
    })
    .await
}

async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let _permit = HASHING.acquire().await.map_err(|_| CatalogueError::Overloaded)?;
    tokio::task::spawn_blocking(work).await.map_err(|_| CatalogueError::Password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let stored = hash("correct horse".into(), [1; 16]).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("correct horse".into(), Some(stored.clone())).await.unwrap());
        assert!(!verify("wrong horse".into(), Some(stored)).await.unwrap());
        assert!(!verify("correct horse".into(), None).await.unwrap());
        assert!(!verify(String::new().into(), Some(String::new())).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_takes_the_same_work() {
        // It must parse, else a verification against it would return at once.
        assert!(argon2::password_hash::phc::PasswordHash::new(NOBODY).is_ok());
    }
}
