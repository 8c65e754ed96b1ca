//! Which hub a command talks to and with which key: flags, then the environment, then a profile's file.
//!
//! A profile is a TOML file of mode 0600 under `$XDG_CONFIG_HOME/tradelane/profiles/`. Keys come from files, the
//! environment or stdin, never from the command line, where every user of the machine could read them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::environment::variable;
use crate::failure::{Failure, Result};

/// The flags that every command has which talks to a hub.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The hub's address, for example https://localhost:7443
    #[arg(long, env = "TRADELANE_URL", global = true, help_heading = "Connection", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// PEM file of the authority that signed the hub's certificate, if the system does not know it
    #[arg(long, env = "TRADELANE_CA", global = true, help_heading = "Connection", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File (mode 0600) that holds the API key; TRADELANE_KEY may hold the key itself
    #[arg(long, env = "TRADELANE_KEY_FILE", global = true, help_heading = "Connection", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Name of a profile written by `tradelane login`
    #[arg(long, env = "TRADELANE_PROFILE", global = true, help_heading = "Connection", value_name = "NAME")]
    pub(crate) profile: Option<String>,
}

/// A key, which nothing prints.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(String);

impl Key {
    /// Takes a key's text; surrounding white space is not part of it.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The text, for a header.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A profile as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// The hub's address.
    pub(crate) url: String,
    /// The authority's PEM, in the profile itself so that it outlives the file it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_pem: Option<String>,
    /// The API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Key>,
}

/// The profile that is used when none is named.
pub(crate) const DEFAULT: &str = "default";

impl Connection {
    /// What these flags, the environment and the profile amount to.
    pub(crate) fn resolve(&self) -> Result<Profile> {
        let name = self.profile.as_deref().unwrap_or(DEFAULT);
        let stored = load(name)?;
        if stored.is_none() && self.profile.is_some() {
            return Err(Failure::usage(format!("there is no profile `{name}`"))
                .remedy("`tradelane profile list` shows the profiles; `tradelane login` writes one"));
        }
        self.overlay(stored.unwrap_or_default())
    }

    /// This profile with what flags and environment say on top.
    pub(crate) fn overlay(&self, mut profile: Profile) -> Result<Profile> {
        if let Some(url) = self.url.as_ref().filter(|url| profile.url != **url) {
            // A key goes to the hub that it was stored for, and to no other.
            profile = Profile { url: url.clone(), ..Profile::default() };
        }
        if profile.url.is_empty() {
            return Err(Failure::usage("no hub is named")
                .remedy("give --url or TRADELANE_URL, or write a profile with `tradelane login`"));
        }
        if let Some(ca) = &self.ca {
            profile.ca_pem = Some(fs::read_to_string(ca).map_err(|error| Failure::file(ca, error))?);
        }
        if let Some(file) = &self.key_file {
            profile.key = Some(read_key_file(file)?);
        }
        if let Some(key) = variable("TRADELANE_KEY") {
            profile.key = Some(Key::new(&key));
        }
        Ok(profile)
    }
}

/// Reads a key from a file that only its owner may read.
pub(crate) fn read_key_file(path: &Path) -> Result<Key> {
    let file = fs::File::open(path).map_err(|error| Failure::file(path, error))?;
    let mode = file.metadata().map_err(|error| Failure::file(path, error))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!("{}: others may read this key (mode {mode:03o})", path.display()))
            .remedy("run `chmod 600` on it, and rotate the key if others could log in"));
    }
    let mut text = String::new();
    file.take(4_096).read_to_string(&mut text).map_err(|error| Failure::file(path, error))?;
    Ok(Key::new(&text))
}

/// Writes a secret into a new file of mode 0600, or over the old one.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let wrong = |error: std::io::Error| Failure::file(path, error);
    let draft = path.with_extension("new");
    drop(fs::remove_file(&draft));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(wrong)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(wrong)?;
    fs::rename(&draft, path).map_err(wrong)
}

/// Where profiles live.
pub(crate) fn directory() -> Result<PathBuf> {
    let base = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
    let base = base.ok_or_else(|| Failure::usage("neither XDG_CONFIG_HOME nor HOME is set"))?;
    Ok(base.join("tradelane").join("profiles"))
}

fn path_of(name: &str) -> Result<PathBuf> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
        return Err(Failure::usage("a profile's name is 1 to 63 letters, digits, '-' or '_'"));
    }
    Ok(directory()?.join(format!("{name}.toml")))
}

/// The stored profile of that name, if there is one.
pub(crate) fn load(name: &str) -> Result<Option<Profile>> {
    let path = match path_of(name) {
        Ok(path) => path,
        // Without a home there are no profiles; flags and environment may still say everything.
        Err(_) if name == DEFAULT => return Ok(None),
        Err(error) => return Err(error),
    };
    if !path.exists() {
        return Ok(None);
    }
    let text = read_key_file(&path)?;
    // The parser's message may quote the line, and the line may hold the key.
    let wrong =
        |_| Failure::usage(format!("{}: is not a profile", path.display())).remedy("run `tradelane login` again");
    toml::from_str(text.expose()).map(Some).map_err(wrong)
}

/// Stores a profile.
pub(crate) fn save(name: &str, profile: &Profile) -> Result<PathBuf> {
    let path = path_of(name)?;
    let dir = directory()?;
    fs::create_dir_all(&dir).map_err(|error| Failure::file(&dir, error))?;
    let text = toml::to_string(profile).map_err(|error| Failure::failed(format!("profile: {error}")))?;
    write_private(&path, &text)?;
    Ok(path)
}

/// Forgets a profile. False if there was none.
pub(crate) fn remove(name: &str) -> Result<bool> {
    let path = path_of(name)?;
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file(&path, error)),
    }
}

/// Names of the stored profiles.
pub(crate) fn names() -> Result<Vec<String>> {
    let dir = directory()?;
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::file(&dir, error)),
    };
    let names = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let toml = path.extension()? == "toml";
        toml.then(|| path.file_stem()?.to_str().map(str::to_owned)).flatten()
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}
