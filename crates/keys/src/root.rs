//! The local root key: one file, readable by its owner alone, that wraps every other key of an installation.
//!
//! The file is one line, `tradelane-root-key-1:` and 64 hexadecimal digits. It is never in the database that it protects;
//! a backup of it is as sensitive as all data, and without it all data is gone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::aead::OpenError;
use crate::at_rest::AtRest;
use crate::hash::hkdf;
use crate::secret::SecretBytes;

const PREFIX: &str = "tradelane-root-key-1:";

/// The root key's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Someone other than the owner may read or write it.
    #[error(
        "the root key {path} is accessible to others (mode {mode:03o}); run `chmod 600` on it, and rotate it if others could log in"
    )]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a regular file or not in the documented form.
    #[error("the root key {path} is not a Tradelane root key file; restore it from its backup")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the root key {path} cannot be read or created: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The key under which an installation wraps its other keys, held in memory only while the process runs.
#[derive(Debug)]
pub struct RootKey {
    key: SecretBytes<32>,
    wrap: AtRest,
}

impl RootKey {
    /// From bytes that another custody (or a test) supplies.
    pub fn from_bytes(key: SecretBytes<32>) -> Self {
        let wrap = AtRest::new(&hkdf(key.expose(), &[b"tradelane/root/v1", b"wrap"]));
        Self { key, wrap }
    }

    /// Reads the file, refusing one that group or others may touch.
    pub fn load(path: &Path) -> Result<Self, RootKeyError> {
        let io_error = |source| RootKeyError::Io { path: path.to_owned(), source };
        let malformed = || RootKeyError::Malformed { path: path.to_owned() };
        let file = File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Err(malformed());
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(RootKeyError::Permissions { path: path.to_owned(), mode });
        }
        let mut text = zeroize::Zeroizing::new(String::with_capacity(128));
        file.take(128).read_to_string(&mut text).map_err(io_error)?;
        let digits = text.trim_end().strip_prefix(PREFIX).ok_or_else(malformed)?;
        Ok(Self::from_bytes(from_hex(digits).ok_or_else(malformed)?))
    }

    /// Reads the file, or creates it (mode 0600, whole or not at all, durable before this returns). The flag says whether it
    /// was created: tell the operator to back it up.
    pub fn load_or_create(path: &Path) -> Result<(Self, bool), RootKeyError> {
        match Self::load(path) {
            Err(RootKeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            loaded => return loaded.map(|key| (key, false)),
        }
        let created = create(path).map_err(|source| RootKeyError::Io { path: path.to_owned(), source })?;
        // Whoever won a race to create it, what is on the disk is the key.
        Self::load(path).map(|key| (key, created))
    }

    /// Wraps a key for storage, bound to `context` (which key this is, and for whom): 60 bytes.
    pub fn wrap(&self, context: &[u8], key: &SecretBytes<32>) -> Vec<u8> {
        self.wrap.seal_blob(context, key.expose())
    }

    /// Unwraps what [`wrap`](Self::wrap) gave for the same `context`.
    pub fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretBytes<32>, OpenError> {
        let mut plain = self.wrap.open_blob(context, wrapped)?;
        let key = SecretBytes::from_slice(&plain).ok_or(OpenError);
        zeroize::Zeroize::zeroize(&mut plain);
        key
    }

    /// A key derived for one purpose of the installation itself (not for a subject: a derived key cannot be destroyed).
    pub fn derive(&self, purpose: &[&[u8]]) -> SecretBytes<32> {
        let mut info: Vec<&[u8]> = vec![b"tradelane/root/v1", b"derive"];
        info.extend_from_slice(purpose);
        hkdf(self.key.expose(), &info)
    }
}

/// Writes a fresh key beside `path` and links it there, which fails rather than replaces. True if this call made it.
fn create(path: &Path) -> io::Result<bool> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let draft = directory.join(format!(".root-key-{:016x}", u64::from_be_bytes(crate::random::random_array())));
    let written = write_draft(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    fs::remove_file(&draft).or_else(|error| if written.is_err() { Ok(()) } else { Err(error) })?;
    File::open(directory)?.sync_all()?;
    written
}

fn write_draft(draft: &Path) -> io::Result<()> {
    let key = SecretBytes::<32>::random();
    let mut text = zeroize::Zeroizing::new(String::with_capacity(128));
    text.push_str(PREFIX);
    for byte in key.expose() {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text.push('\n');
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn from_hex(digits: &str) -> Option<SecretBytes<32>> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(*pair.first()?).to_digit(16)?;
        let low = char::from(*pair.last()?).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(SecretBytes::new(*bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_root_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let (first, created) = RootKey::load_or_create(&path).unwrap();
        assert!(created);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let (second, created) = RootKey::load_or_create(&path).unwrap();
        assert!(!created);
        assert!(first.derive(&[b"x"]) == second.derive(&[b"x"]));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_root_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        RootKey::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(RootKey::load_or_create(&path), Err(RootKeyError::Permissions { mode: 0o644, .. })));
    }

    #[test]
    fn a_damaged_root_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        RootKey::load_or_create(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for bad in ["", "tradelane-root-key-1:", &good[..40], &good.replace("-1:", "-2:")] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(RootKey::load_or_create(&path), Err(RootKeyError::Malformed { .. })));
            assert_eq!(fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_wrapped_key_unwraps_in_its_context_only() {
        let root = RootKey::from_bytes(SecretBytes::random());
        let key = SecretBytes::random();
        let wrapped = root.wrap(b"subject/1", &key);
        assert_eq!(wrapped.len(), 60);
        assert!(root.unwrap(b"subject/1", &wrapped).unwrap() == key);
        assert!(root.unwrap(b"subject/2", &wrapped).is_err());
        assert!(RootKey::from_bytes(SecretBytes::random()).unwrap(b"subject/1", &wrapped).is_err());
        assert!(root.unwrap(b"subject/1", &[]).is_err());
    }
}
