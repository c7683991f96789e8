use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt, symlink},
};

use tempfile::TempDir;

use super::*;

const ANSWER: &str = r#"{"refresh_token":"1//rotated","access_token":"ya29.abc"}"#;

fn room() -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().expect("a temporary directory");
    let dir = room.path().join("spool");
    (room, dir)
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn id(text: &str) -> EntryId {
    text.parse().expect("an entry id")
}

fn kept(spool: &Spool) -> Vec<(String, String)> {
    let entries = spool.entries().expect("the entries");
    entries
        .into_iter()
        .map(|(id, content)| (id.to_string(), content.expose_secret().to_owned()))
        .collect()
}

fn one(name: &str, content: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), content.to_owned())]
}

#[test]
fn what_was_kept_is_found_by_the_next_process_and_gone_once_forgotten() {
    let (_room, dir) = room();
    let first = Spool::open(&dir).expect("opens");
    first.keep(&id("attempt-1"), &secret(ANSWER)).expect("keeps");
    drop(first);

    let next = Spool::open(&dir).expect("opens again");
    assert_eq!(kept(&next), one("attempt-1", ANSWER));
    next.forget(&id("attempt-1")).expect("forgets");
    next.forget(&id("attempt-1")).expect("forgetting twice is fine");
    assert_eq!(kept(&next), []);
}

#[test]
fn keeping_under_the_same_id_replaces() {
    let (_room, dir) = room();
    let spool = Spool::open(&dir).expect("opens");
    spool.keep(&id("a"), &secret("old")).expect("keeps");
    spool.keep(&id("a"), &secret("new")).expect("keeps");
    assert_eq!(kept(&spool), one("a", "new"));
}

#[test]
fn a_directory_that_a_living_process_has_is_refused() {
    let (_room, dir) = room();
    let _living = Spool::open(&dir).expect("opens");
    let refused = Spool::open(&dir).expect_err("is in use");
    assert!(matches!(refused, SpoolError::InUse { .. }));
    assert!(refused.to_string().contains("--spool-dir"));
}

#[test]
fn holders_of_ended_processes_are_known_and_others_are_not() {
    let (_room, dir) = room();
    let first = Spool::open(&dir).expect("opens").holder().clone();
    let second = Spool::open(&dir).expect("opens").holder().clone();
    let third = Spool::open(&dir).expect("opens");
    assert_eq!(third.whose(&first), Whose::Earlier);
    assert_eq!(third.whose(&second), Whose::Earlier);
    assert_eq!(third.whose(third.holder()), Whose::This);
    assert_eq!(third.whose(&Holder::random()), Whose::Other);
}

#[test]
fn the_last_fifty_processes_are_remembered() {
    let (_room, dir) = room();
    let holders: Vec<Holder> = (0..52)
        .map(|_| Spool::open(&dir).expect("opens").holder().clone())
        .collect();
    let last = Spool::open(&dir).expect("opens");
    assert_eq!(last.whose(&holders[1]), Whose::Other);
    assert_eq!(last.whose(&holders[2]), Whose::Earlier);
    assert_eq!(last.whose(&holders[51]), Whose::Earlier);
}

#[test]
fn a_damaged_list_of_holders_does_not_stop_the_operator() {
    let (_room, dir) = room();
    let first = Spool::open(&dir).expect("opens").holder().clone();
    for damage in [b"\xff\xfe not text".as_slice(), b"not a holder\n", b""] {
        fs::write(dir.join(HOLDERS), damage).expect("damages");
        assert_eq!(Spool::open(&dir).expect("opens").whose(&first), Whose::Other);
    }
}

#[test]
fn a_process_killed_between_writing_and_renaming_loses_nothing() {
    let (_room, dir) = room();
    drop(Spool::open(&dir).expect("opens"));
    fs::write(dir.join("attempt-1.answer.tmp"), sealed::seal(ANSWER)).expect("what the killed process had written");

    let next = Spool::open(&dir).expect("opens");
    assert_eq!(kept(&next), one("attempt-1", ANSWER));
    assert!(!dir.join("attempt-1.answer.tmp").exists());
}

#[test]
fn an_interrupted_replacement_counts_over_what_it_was_to_replace() {
    let (_room, dir) = room();
    let killed = Spool::open(&dir).expect("opens");
    killed.keep(&id("a"), &secret("old")).expect("keeps");
    fs::write(dir.join("a.answer.tmp"), sealed::seal("new")).expect("writes");
    drop(killed);
    assert_eq!(kept(&Spool::open(&dir).expect("opens")), one("a", "new"));
}

#[test]
fn a_process_killed_while_writing_leaves_nothing_that_counts() {
    let (_room, dir) = room();
    let whole = sealed::seal(ANSWER);
    for length in 0..whole.len() {
        let killed = Spool::open(&dir).expect("opens");
        killed.keep(&id("a"), &secret("old")).expect("keeps");
        fs::write(dir.join("a.answer.tmp"), &whole[..length]).expect("a torn file");
        drop(killed);

        let next = Spool::open(&dir).expect("opens");
        assert_eq!(kept(&next), one("a", "old"), "torn after {length} bytes");
        assert!(!dir.join("a.answer.tmp").exists());
    }
}

#[test]
fn one_damaged_entry_does_not_hide_the_others() {
    let (_room, dir) = room();
    let spool = Spool::open(&dir).expect("opens");
    for name in ["a", "b", "c", "d"] {
        spool.keep(&id(name), &secret(ANSWER)).expect("keeps");
    }
    let mut torn = fs::read(dir.join("a.answer")).expect("reads");
    torn.truncate(torn.len() - 1);
    fs::write(dir.join("a.answer"), torn).expect("tears");
    fs::write(dir.join("b.answer"), vec![b'x'; 2 * MAX_ENTRY]).expect("fills");
    fs::remove_file(dir.join("c.answer")).expect("removes");
    fs::create_dir(dir.join("c.answer")).expect("a directory where a file should be");
    fs::write(dir.join("NOT an id.answer"), sealed::seal(ANSWER)).expect("writes");
    assert_eq!(kept(&spool), one("d", ANSWER));
}

#[test]
fn nobody_else_may_read_directory_or_files() {
    let (_room, dir) = room();
    let spool = Spool::open(&dir).expect("opens");
    spool.keep(&id("a"), &secret(ANSWER)).expect("keeps");
    let mode = |path: &Path| fs::metadata(path).expect("metadata").mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in ["a.answer", HOLDERS, LOCK] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        let (_room, dir) = room();
        fs::create_dir(&dir).expect("creates");
        fs::set_permissions(&dir, Permissions::from_mode(mode)).expect("sets the mode");
        let refused = Spool::open(&dir).expect_err("is unsafe").to_string();
        assert!(refused.contains(&format!("{mode:04o}")), "{refused}");
        assert!(refused.contains(&dir.display().to_string()), "{refused}");
        assert!(refused.contains("--spool-dir"), "{refused}");
    }
}

#[test]
fn a_path_that_is_no_directory_is_refused_with_what_it_is() {
    let (room, dir) = room();
    fs::write(&dir, "").expect("writes");
    assert!(Spool::open(&dir).expect_err("is a file").to_string().contains("a file"));

    let link = room.path().join("link");
    symlink(room.path(), &link).expect("links");
    assert!(
        Spool::open(&link)
            .expect_err("is a link")
            .to_string()
            .contains("a symbolic link")
    );
}

#[test]
fn an_answer_that_is_too_large_is_refused_and_the_old_one_kept() {
    let (_room, dir) = room();
    let spool = Spool::open(&dir).expect("opens");
    spool
        .keep(&id("a"), &secret(&"x".repeat(MAX_ENTRY)))
        .expect("the largest is kept");
    let refused = spool
        .keep(&id("a"), &secret(&"y".repeat(MAX_ENTRY + 1)))
        .expect_err("is too large");
    assert!(matches!(refused, SpoolError::TooLarge { .. }));
    assert_eq!(kept(&spool), one("a", &"x".repeat(MAX_ENTRY)));
}

#[test]
fn a_write_that_fails_says_where_and_what_to_do() {
    let (_room, dir) = room();
    let spool = Spool::open(&dir).expect("opens");
    fs::remove_dir_all(&dir).expect("the directory goes away");
    let error = spool.keep(&id("a"), &secret(ANSWER)).expect_err("cannot be written");
    let text = error.to_string();
    assert!(text.contains("a.answer") && text.contains("--spool-dir"), "{text}");
    assert!(!text.contains("rotated") && !format!("{error:?}").contains("rotated"));
}

#[test]
fn ids_that_could_leave_the_directory_are_refused() {
    for bad in ["", ".", "..", "../a", "a/b", "A", "a.b", "ä", &"a".repeat(65)] {
        assert_eq!(bad.parse::<EntryId>(), Err(NotAnEntryId), "{bad:?}");
    }
    assert!(EntryId::random().as_str().parse::<EntryId>().is_ok());
    for bad in ["", "0123", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
        assert_eq!(bad.parse::<Holder>(), Err(NotAHolder), "{bad:?}");
    }
}
