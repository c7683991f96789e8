//! `docs/consumers.md` has every key that a token Secret can have, and shows the files as the operator writes them.

use emailasset::api::{Format, Security};
use emailasset::formats::{Issued, Mailbox, Outline};
use emailasset::provider::Server;

use super::{read, root};

const PAGE: &str = "docs/consumers.md";

fn server(host: &str, port: u16) -> Server {
    Server {
        host: host.to_owned(),
        port,
        security: Security::Tls,
        username: "support@example.com".to_owned(),
    }
}

/// The keys of a format for the mailbox that the page shows.
fn keys(format: Format) -> Vec<(String, String)> {
    let mailbox = Mailbox {
        secret: "support-token",
        email: "support@example.com",
        username: "support@example.com",
        smtp: Some(&server("smtp.gmail.com", 465)),
        imap: Some(&server("imap.gmail.com", 993)),
        pop3: Some(&server("pop.gmail.com", 995)),
        mechanisms: &[],
    };
    let outline = Outline::new(&[format], &mailbox).unwrap().unwrap();
    let keys = outline.render(&Issued {
        token: &"T".into(),
        token_type: "Bearer",
        expires: None,
    });
    let text = |value: &secrecy::SecretString| secrecy::ExposeSecret::expose_secret(value).to_owned();
    keys.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

#[test]
fn every_format_has_a_section_with_its_keys() {
    let page = read(PAGE);
    for format in Format::ALL {
        let name = format.as_str();
        let heading = format!("\n### {name}\n");
        assert!(page.contains(&heading), "{PAGE} has no section {name}");
        let row = page.lines().find(|line| line.starts_with(&format!("| [`{name}`]")));
        let row = row.unwrap_or_else(|| panic!("the table of {PAGE} has no row for {name}"));
        for (key, _) in keys(format) {
            assert!(
                row.contains(&format!("`{key}`")),
                "the row of {name} does not name {key}"
            );
        }
    }
}

#[test]
fn every_default_key_is_explained() {
    let page = read(PAGE);
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with("The default keys"))
        .unwrap();
    for key in ["access_token", "token_type", "expires_at", "email", "username"] {
        assert!(section.contains(&format!("| `{key}`")), "{key}");
    }
    for protocol in ["smtp", "imap", "pop3"] {
        for key in ["host", "port", "security", "username"] {
            assert!(section.contains(&format!("`{protocol}_{key}`")), "{protocol}_{key}");
        }
    }
}

/// To write them anew: `UPDATE_CONSUMERS=1 cargo test --test docs`.
#[test]
fn the_files_are_shown_as_they_are_written() {
    let page = read(PAGE);
    let mut shown = page.clone();
    let mut count = 0;
    for (key, text) in Format::ALL.into_iter().flat_map(keys) {
        let marker = format!("<!-- {key} -->\n```text\n");
        if let Some((before, after)) = shown.split_once(&marker) {
            let (_, after) = after.split_once("```").unwrap();
            shown = format!("{before}{marker}{text}```{after}");
            count += 1;
        }
    }
    assert!(count >= 7, "only {count} files are shown");
    if std::env::var_os("UPDATE_CONSUMERS").is_some() {
        std::fs::write(root().join(PAGE), &shown).unwrap();
    }
    assert!(
        shown == read(PAGE),
        "{PAGE} is out of date: run UPDATE_CONSUMERS=1 cargo test --test docs"
    );
}
