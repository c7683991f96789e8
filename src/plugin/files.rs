//! Reading what a command line names: a file, or `-` for standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::exit::Problem;
use super::words::without_number;

/// Largest file that is read, in bytes. Manifests and token files are far smaller.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Its contents.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let named = path.display();
    let unreadable = |error: io::Error| {
        Problem::usage(format!(
            "{named} cannot be read: {}.",
            without_number(&error.to_string())
        ))
    };
    let mut contents = Vec::new();
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(LARGEST + 1)
            .read_to_end(&mut contents)
            .map_err(unreadable)?;
    } else {
        let file = File::open(path).map_err(unreadable)?;
        file.take(LARGEST + 1).read_to_end(&mut contents).map_err(unreadable)?;
    }
    if contents.len() as u64 > LARGEST {
        return Err(Problem::usage(format!(
            "{named} has more than {} MiB and is not read.",
            LARGEST / 1024 / 1024
        )));
    }
    Ok(contents)
}
