//! Disks as they are on bad days: full, torn, damaged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{TempDir, require_or_skip, temp_dir};

/// A file system of a few megabytes of its own, unmounted when dropped.
#[derive(Debug)]
pub struct TinyDisk {
    directory: TempDir,
}

impl TinyDisk {
    /// Mounts one of `megabytes`. Needs to be root; `None`, with a word on stderr, where that is not so.
    pub fn mount(megabytes: u32) -> Option<Self> {
        let directory = temp_dir();
        let size = format!("size={megabytes}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tradelane-test"]).arg(directory.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self { directory });
        }
        require_or_skip("mounting a tiny file system (needs root)");
        None
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes up all room that is left with a file; answers its path, for removing it.
    ///
    /// # Panics
    /// If writing fails for any other reason than a full disk.
    pub fn fill_up(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).expect("an empty file fits");
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![0x5a; size];
            let error = write_until_error(&mut file, &block);
            assert!(error.kind() == io::ErrorKind::StorageFull, "{error}");
        }
        path
    }
}

fn write_until_error(file: &mut File, block: &[u8]) -> io::Error {
    loop {
        if let Err(error) = file.write_all(block) {
            return error;
        }
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.path().display());
        }
    }
}

/// Copies the files of a directory and of those below it: the state of a disk at a moment, if nobody writes meanwhile.
///
/// # Errors
/// Those of reading and writing.
pub fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&to)?;
            copy_dir(&from, &to)?;
        } else if entry.file_type()?.is_file() {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}

/// Cuts `bytes` off the end of a file and puts as many bytes of noise in their place if `garble`, as a write does that
/// lost power half-way.
///
/// # Errors
/// Those of reading and writing.
pub fn tear_tail(path: &Path, bytes: u64, garble: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = file.metadata()?.len();
    let keep = length.saturating_sub(bytes);
    file.set_len(keep)?;
    if garble {
        file.seek(SeekFrom::Start(keep))?;
        let noise: Vec<u8> = (keep..length).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        file.write_all(&noise)?;
    }
    file.sync_all()
}

/// Flips every bit of the byte at `offset`.
///
/// # Errors
/// Those of reading and writing; among them an offset beyond the end.
pub fn flip_byte(path: &Path, offset: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(&[!byte[0]])?;
    file.sync_all()
}
