//! The form of an entry on disk: one line with a version, the length and the SHA-256 of the content, then the content.
//!
//! The line lets a reader tell a whole file from a torn one, whatever it is named. It is no protection against somebody who can write the file.

use std::fmt::Write;

use secrecy::{SecretString, zeroize::Zeroizing};
use sha2::{Digest, Sha256};

/// The first word of the line. Another version of the format gets another word.
const VERSION: &str = "emailasset-spool-1";
/// The line is shorter than this many bytes.
pub(super) const HEADER_LIMIT: usize = 128;

/// Why a file is not a whole entry. Carries nothing of its content.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damaged {
    #[error("does not begin with a line of the version {VERSION}")]
    Header,
    #[error("is torn or was changed: length or checksum do not match")]
    Content,
}

pub(super) fn seal(content: &str) -> Zeroizing<Vec<u8>> {
    let header = header(content);
    let mut bytes = Zeroizing::new(Vec::with_capacity(header.len() + content.len()));
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(content.as_bytes());
    bytes
}

pub(super) fn unseal(bytes: &[u8]) -> Result<SecretString, Damaged> {
    let end = bytes
        .iter()
        .take(HEADER_LIMIT)
        .position(|byte| *byte == b'\n')
        .ok_or(Damaged::Header)?;
    let (found, content) = bytes.split_at_checked(end + 1).ok_or(Damaged::Header)?;
    if !found.starts_with(VERSION.as_bytes()) {
        return Err(Damaged::Header);
    }
    let content = str::from_utf8(content).map_err(|_| Damaged::Content)?;
    if found != header(content).as_bytes() {
        return Err(Damaged::Content);
    }
    Ok(SecretString::from(content))
}

fn header(content: &str) -> String {
    let mut checksum = String::with_capacity(64);
    for byte in Sha256::digest(content.as_bytes()) {
        // Writing to a string does not fail.
        let _ = write!(checksum, "{byte:02x}");
    }
    format!("{VERSION} {} {checksum}\n", content.len())
}
