//! Answers of token endpoints on their way into the cluster, where a killed process cannot lose them.
//!
//! A rotated refresh token exists nowhere else until it is in the grant Secret. So the answer is first written here, into a small directory on tmpfs that
//! outlives the process but not the pod (invariant 1). The next process in the same pod opens the directory, finds what the killed one left, and stores it.
//!
//! ```text
//! answer ──keep──> <id>.answer ──(stored in the grant Secret)──> forget
//!                      │
//!                  kill -9 ──> next process: open, entries ──> store, forget
//! ```
//!
//! The directory also tells who may be trusted to be dead (invariant 2). Each process has a random [`Holder`], which it writes into its open attempts. The
//! directory is locked by the living process and lists the holders of the earlier ones: who holds the lock knows that those have ended, and need not wait.
//!
//! Calls here use `std::fs` directly, also from async code: files are a few kB on tmpfs, so a call is a copy in memory of some microseconds. Handing it to a
//! blocking thread would take longer and, what matters more, would open a gap between the answer and its first copy in which the task can be dropped.
//!
//! Files are checked by length and SHA-256, so a file that is complete is known to be complete: even a process that was killed between writing and renaming
//! loses nothing.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use tracing::warn;

mod sealed;
#[cfg(test)]
mod tests;

/// The largest content of one entry, in bytes. Token answers are a few kB; the token endpoint client cuts far below this.
pub const MAX_ENTRY: usize = 256 * 1024;

/// How many earlier processes are remembered. One more is added by each restart of the container; an attempt of an older one is waited for like a stranger's.
const MAX_HOLDERS: usize = 50;
/// 50 holders need under 2 kB. What is larger was not written by us.
const MAX_HOLDERS_FILE: u64 = 16 * 1024;

const LOCK: &str = "lock";
const HOLDERS: &str = "holders";
const ENTRY: &str = "answer";
const TEMPORARY: &str = "tmp";

/// The name of one process in its open attempts: 128 random bits as 32 hexadecimal digits, made at start. It is no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder(String);

impl Holder {
    /// A holder that no other process has.
    fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The 32 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`Holder`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a holder has 32 lower-case hexadecimal digits")]
pub struct NotAHolder;

impl FromStr for Holder {
    type Err = NotAHolder;

    fn from_str(text: &str) -> Result<Self, NotAHolder> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && text.len() == 32 {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAHolder)
        }
    }
}

/// Whose attempt it is that carries a [`Holder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of this process.
    This,
    /// Of an earlier process in the same directory. It has certainly ended, since we have its lock.
    Earlier,
    /// Of a process of which nothing is known. It may be alive.
    Other,
}

/// The name of an entry: 1 to 64 of `a` to `z`, `0` to `9` and `-`. The id of the attempt whose answer it holds, in most cases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(String);

impl EntryId {
    /// An id that no other entry has.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no [`EntryId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry id has 1 to 64 characters of a to z, 0 to 9 and -")]
pub struct NotAnEntryId;

impl FromStr for EntryId {
    type Err = NotAnEntryId;

    fn from_str(text: &str) -> Result<Self, NotAnEntryId> {
        let allowed = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-'));
        if allowed && (1..=64).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnEntryId)
        }
    }
}

/// Why the spool cannot be used. Each message names the path and the next step.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another living process has the directory.
    #[error(
        "the spool directory {} is in use by another process, which holds the lock on {LOCK} in it. Two operators must not share one: stop the other, or \
         give this one a directory of its own with --spool-dir",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The path is there and is something else.
    #[error(
        "the spool directory {} is {found}, where a directory is expected. Remove it, or name another directory with --spool-dir",
        path.display()
    )]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// Other users could plant or swap entries.
    #[error(
        "the spool directory {} has mode {mode:04o}: other users can write into it, and refresh tokens pass through it. Run chmod 700 on it, or name a \
         directory with --spool-dir that does not exist yet: it is then created with mode 0700",
        path.display()
    )]
    WritableByOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// An answer larger than any token answer is.
    #[error("an answer of {size} bytes is larger than the {MAX_ENTRY} bytes that an entry of the spool may have: {} was not written", path.display())]
    TooLarge {
        /// The file that would have been written.
        path: PathBuf,
        /// The size of the content, in bytes.
        size: usize,
    },
    /// The file system refused.
    #[error(
        "the spool could not {action} {}. It needs a directory that this user may write, on a file system with room (tmpfs; in Kubernetes an emptyDir with \
         medium Memory): check it, or name another with --spool-dir",
        path.display()
    )]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
}

/// Turns an [`io::Error`] into one that says what was tried on which file.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Io { action, path, source }
}

/// The locked directory. One per process, shared by reference; the lock is let go when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    holder: Holder,
    earlier: Vec<Holder>,
    /// Two writers of the same entry would write into one temporary file.
    writing: Mutex<()>,
    /// Held for the life of the spool: the kernel lets go of the lock when the file is closed.
    lock: File,
}

impl Drop for Spool {
    /// A process that was forked from this one a moment ago may hold a copy of the file, and with it the lock.
    fn drop(&mut self) {
        // Closing the file is all that is left to try.
        let _ = self.lock.unlock();
    }
}

impl Spool {
    /// Opens the directory, creating it with mode 0700, locks it, and finishes what a killed process left half done.
    ///
    /// # Errors
    /// [`SpoolError`], where the directory is unsafe, in use, or cannot be written. The operator must not start then: it could lose refresh tokens.
    pub fn open(dir: &Path) -> Result<Self, SpoolError> {
        create(dir)?;
        refuse_unsafe(dir)?;
        let lock = lock(dir)?;
        let earlier = read_holders(&dir.join(HOLDERS));
        let spool = Self {
            dir: dir.to_owned(),
            holder: Holder::random(),
            earlier,
            writing: Mutex::new(()),
            lock,
        };
        spool.write_holders()?;
        spool.finish_interrupted_writes()?;
        Ok(spool)
    }

    /// The name of this process in its attempts.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Tells whose attempt carries `holder`.
    #[must_use]
    pub fn whose(&self, holder: &Holder) -> Whose {
        if *holder == self.holder {
            Whose::This
        } else if self.earlier.contains(holder) {
            Whose::Earlier
        } else {
            Whose::Other
        }
    }

    /// Keeps `content` under `id`, in place of what was there. When this returns, a killed process no longer loses it.
    ///
    /// # Errors
    /// [`SpoolError::TooLarge`] and [`SpoolError::Io`]. What was kept under `id` before is still kept then.
    pub fn keep(&self, id: &EntryId, content: &SecretString) -> Result<(), SpoolError> {
        let content = content.expose_secret();
        let path = self.entry(id);
        if content.len() > MAX_ENTRY {
            return Err(SpoolError::TooLarge {
                path,
                size: content.len(),
            });
        }
        self.replace(&path, &sealed::seal(content))
    }

    /// All entries, sorted by id. One that cannot be read or is damaged is reported to the log and left out: it must not keep the others from being stored.
    ///
    /// # Errors
    /// [`SpoolError::Io`] where the directory itself cannot be read.
    pub fn entries(&self) -> Result<Vec<(EntryId, SecretString)>, SpoolError> {
        let mut entries = Vec::new();
        for (path, stem) in self.files(ENTRY)? {
            let Ok(id) = stem.parse::<EntryId>() else {
                warn!(path = %path.display(), "a file in the spool is not named like an entry and was left alone");
                continue;
            };
            match read_entry(&path) {
                Ok(content) => entries.push((id, content)),
                Err(why) => {
                    warn!(path = %path.display(), %why, "an entry of the spool was left out: it cannot be stored");
                }
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(entries)
    }

    /// Drops the entry, once its answer is stored. Dropping one that is not there is fine.
    ///
    /// # Errors
    /// [`SpoolError::Io`]. The entry is then found again at the next start, and storing it again changes nothing.
    pub fn forget(&self, id: &EntryId) -> Result<(), SpoolError> {
        let path = self.entry(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    fn entry(&self, id: &EntryId) -> PathBuf {
        self.dir.join(format!("{id}.{ENTRY}"))
    }

    /// Adds our holder to the list, so that the next process knows that we have ended.
    fn write_holders(&self) -> Result<(), SpoolError> {
        let all: Vec<&Holder> = self.earlier.iter().chain([&self.holder]).collect();
        let newest = all.iter().skip(all.len().saturating_sub(MAX_HOLDERS));
        let lines: Vec<&str> = newest.map(|holder| holder.as_str()).collect();
        self.replace(&self.dir.join(HOLDERS), (lines.join("\n") + "\n").as_bytes())
    }

    /// Writes a file as a whole or not at all: a reader sees the old content or the new.
    fn replace(&self, path: &Path, content: &[u8]) -> Result<(), SpoolError> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let temporary = temporary(path);
        let written = write_new(&temporary, content).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // A half-written file would take room that the next try needs. Where this fails too, the first error says more.
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(failed("write", path))
    }

    /// Takes over the temporary files of a killed process: those that are complete become entries, the others never held a whole answer.
    ///
    /// Runs in [`Spool::open`] only: later, a temporary file may be one that another thread is writing.
    fn finish_interrupted_writes(&self) -> Result<(), SpoolError> {
        for (path, stem) in self.files(TEMPORARY)? {
            let target = self.dir.join(stem);
            let is_entry = target.extension().is_some_and(|extension| extension == ENTRY);
            if is_entry && read_entry(&path).is_ok() {
                fs::rename(&path, &target).map_err(failed("rename", &path))?;
            } else {
                warn!(path = %path.display(), "removed a file of the spool that a killed process had begun to write");
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    /// The files with this extension: path, and name without it.
    fn files(&self, extension: &str) -> Result<Vec<(PathBuf, String)>, SpoolError> {
        let mut files = Vec::new();
        for found in fs::read_dir(&self.dir).map_err(failed("list", &self.dir))? {
            let path = found.map_err(failed("list", &self.dir))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if let Some(stem) = stem.filter(|_| path.extension().is_some_and(|found| found == extension)) {
                files.push((path.clone(), stem.to_owned()));
            }
        }
        Ok(files)
    }
}

fn create(dir: &Path) -> Result<(), SpoolError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        // Something else is there: `refuse_unsafe` says what.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(failed("create", dir)),
    }
}

fn refuse_unsafe(dir: &Path) -> Result<(), SpoolError> {
    let found = fs::symlink_metadata(dir).map_err(failed("look at", dir))?;
    if found.is_symlink() {
        return Err(SpoolError::NotADirectory {
            path: dir.to_owned(),
            found: "a symbolic link",
        });
    }
    if !found.is_dir() {
        return Err(SpoolError::NotADirectory {
            path: dir.to_owned(),
            found: "a file",
        });
    }
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(SpoolError::WritableByOthers {
            path: dir.to_owned(),
            mode,
        });
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path);
    let file = file.map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

/// The holders of earlier processes, oldest first. A damaged list only costs time: attempts of a holder that is not known are waited for.
fn read_holders(path: &Path) -> Vec<Holder> {
    let read = File::open(path).and_then(|file| io::read_to_string(file.take(MAX_HOLDERS_FILE)));
    let text = match read {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warn!(path = %path.display(), %error, "the earlier holders cannot be read; their open attempts will be waited for");
            return Vec::new();
        }
    };
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    PathBuf::from(name)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Why a file is not a whole entry.
#[derive(Debug, thiserror::Error)]
enum BadEntry {
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    #[error(transparent)]
    Damaged(#[from] sealed::Damaged),
}

fn read_entry(path: &Path) -> Result<SecretString, BadEntry> {
    let limit = u64::try_from(MAX_ENTRY + sealed::HEADER_LIMIT + 1).unwrap_or(u64::MAX);
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(BadEntry::Unreadable)?;
    // Reserved in one piece: growing would leave copies behind that nobody overwrites.
    let size = file.metadata().map_err(BadEntry::Unreadable)?.len().min(limit);
    bytes.reserve_exact(usize::try_from(size).unwrap_or(0).saturating_add(1));
    file.take(limit).read_to_end(&mut bytes).map_err(BadEntry::Unreadable)?;
    Ok(sealed::unseal(&bytes)?)
}
