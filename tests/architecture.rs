//! The rooms and their one-way dependencies (`docs/architecture.md`), held by reading the sources: a room that imports what it may not touch fails here.

use std::fs;
use std::path::{Path, PathBuf};

/// What a room may touch.
struct Room {
    name: &'static str,
    /// Other rooms it may import; its own name is always allowed.
    rooms: &'static [&'static str],
    /// What it may take from kube.
    kube: Kube,
    /// Names that may not appear in its code.
    never: &'static [&'static str],
}

/// What a room may take from kube.
#[derive(Clone, Copy, PartialEq)]
enum Kube {
    /// Derives and core types only.
    Types,
    /// Clients and controllers too.
    Client,
}

/// The parts of kube that reach a cluster.
const KUBE_CLIENT: &[&str] = &[
    "Client",
    "Api",
    "Config",
    "Error",
    "client",
    "api",
    "config",
    "runtime",
    "discovery",
    "*",
];

/// A client, a runtime or a clock: what the pure rooms do without.
const EFFECTS: &[&str] = &[
    "reqwest",
    "hyper",
    "axum",
    "tokio",
    "tokio_util",
    "std::net",
    "std::fs",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "async fn",
    ".await",
];

#[rustfmt::skip]
const ROOMS: &[Room] = &[
    Room { name: "api",       rooms: &[],                                  kube: Kube::Types,  never: EFFECTS },
    Room { name: "lifecycle", rooms: &["api"],                             kube: Kube::Types,  never: EFFECTS },
    Room { name: "provider",  rooms: &["api"],                             kube: Kube::Types,  never: EFFECTS },   // pure until discovery comes
    Room { name: "outbound",  rooms: &[],                                  kube: Kube::Types,  never: &["reqwest"] },
    Room { name: "oauth",     rooms: &["api", "lifecycle", "provider", "outbound"], kube: Kube::Types, never: &[] },
    Room { name: "sasl",      rooms: &[],                                  kube: Kube::Types,  never: EFFECTS },
    Room { name: "mail",      rooms: &["api", "outbound", "sasl"],         kube: Kube::Types,  never: &["reqwest"] },
    Room { name: "formats",   rooms: &["api", "provider", "sasl"],         kube: Kube::Types,  never: EFFECTS },
    Room { name: "store",     rooms: &["api", "lifecycle", "provider", "oauth", "formats"], kube: Kube::Client, never: &["reqwest"] },
    Room { name: "signin",    rooms: &["api", "lifecycle", "provider", "listener"], kube: Kube::Types,  never: &["reqwest"] },
    Room { name: "leader",    rooms: &[],                                  kube: Kube::Client, never: &["reqwest"] },
    Room { name: "listener",  rooms: &[],                                  kube: Kube::Types,  never: &["reqwest"] },
];

#[test]
fn every_room_imports_only_what_it_may() {
    for room in ROOMS {
        for file in sources(room.name) {
            let source = fs::read_to_string(&file).unwrap_or_default();
            let problems = problems(room, &code(&source));
            assert!(
                problems.is_empty(),
                "{}: room {} may not touch {problems:?}",
                file.display(),
                room.name
            );
        }
    }
}

#[test]
fn the_pure_rooms_are_there_to_be_checked() {
    assert!(!sources("api").is_empty());
    assert!(!sources("provider").is_empty());
}

/// The check itself, shown to fail.
#[test]
fn a_forbidden_import_is_found() {
    let lifecycle = &ROOMS[1];
    for (source, found) in [
        ("use kube::Client;", "kube::Client"),
        ("use kube::{Api, Client};", "kube::Client"),
        ("use kube::{Resource, runtime::watcher};", "kube::runtime"),
        ("async fn decide() {}", "async fn"),
        ("let now = Timestamp::now();", "Timestamp::now"),
        ("use crate::store::GrantStore;", "crate::store"),
        ("use crate::{api, oauth};", "crate::oauth"),
        (
            "use crate::{\n    api::{A, B},\n    controller::X,\n};",
            "crate::controller",
        ),
        ("use crate::*;", "crate::*"),
        ("use super::super::store::X;", "super::super::store"),
    ] {
        assert!(
            problems(lifecycle, &code(source))
                .iter()
                .any(|problem| problem == found),
            "{source}"
        );
    }
    for source in [
        "use crate::api::Reason;",
        "use crate::lifecycle::World;",
        "// use kube::Client;",
        "use super::names;",
        "let tokios = 1;",
    ] {
        assert_eq!(problems(lifecycle, &code(source)), Vec::<String>::new(), "{source}");
    }
}

fn problems(room: &Room, code: &str) -> Vec<String> {
    let never = room
        .never
        .iter()
        .filter(|name| contains_word(code, name))
        .map(ToString::to_string);
    let reach = if room.kube == Kube::Types { KUBE_CLIENT } else { &[] };
    let kube = imported(code, "kube::")
        .into_iter()
        .filter(|name| reach.contains(&name.as_str()));
    let allowed = |name: &str| name == room.name || room.rooms.contains(&name);
    let rooms = imported(code, "crate::").into_iter().filter(|name| !allowed(name));
    let upward = imported(code, "super::super::")
        .into_iter()
        .filter(|name| is_room(name) && !allowed(name));
    never
        .chain(kube.map(|name| format!("kube::{name}")))
        .chain(rooms.map(|name| format!("crate::{name}")))
        .chain(upward.map(|name| format!("super::super::{name}")))
        .collect()
}

fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|room| room.name == name) || ["controller", "cli", "telemetry"].contains(&name)
}

/// The path segments that follow `prefix`, also in braces.
fn imported(code: &str, prefix: &str) -> Vec<String> {
    let paths = code.split(prefix).skip(1);
    let names = paths.flat_map(|rest| match rest.strip_prefix('{') {
        Some(group) => top_level_items(group),
        None => vec![first_word(rest)],
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn top_level_items(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut text = String::new();
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    text.split(',').map(|item| first_word(item.trim())).collect()
}

fn first_word(text: &str) -> String {
    if text.starts_with('*') {
        return "*".into();
    }
    text.chars().take_while(|letter| is_part_of_word(*letter)).collect()
}

/// Whether the name stands there as a whole: `tokio`, but not `tokios`.
fn contains_word(code: &str, name: &str) -> bool {
    let after = code.split(name).skip(1);
    code.split(name).zip(after).any(|(before, after)| {
        let glued_before = name.starts_with(is_part_of_word) && before.ends_with(is_part_of_word);
        let glued_after = name.ends_with(is_part_of_word) && after.starts_with(is_part_of_word);
        !glued_before && !glued_after
    })
}

fn is_part_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The source without comments and without string literals.
fn code(source: &str) -> String {
    let lines = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines
        .map(|line| line.split('"').step_by(2).collect::<Vec<_>>().join("\"\""))
        .collect::<Vec<_>>()
        .join("\n")
}

/// All source files of a room but its tests, which may use what they like.
fn sources(room: &str) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![src.join(format!("{room}.rs"))];
    let mut directories = vec![src.join(room)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let is_test = |file: &PathBuf| file.ends_with("tests.rs") || file.iter().any(|part| part == "tests");
    let below_src = |file: &PathBuf| file.strip_prefix(&src).map(Path::to_path_buf).unwrap_or_default();
    files.retain(|file| file.exists() && !is_test(&below_src(file)));
    files
}
