//! `docs/providers/reference.md`, made of the catalogue. `UPDATE_PROVIDERS=1 cargo test --test docs providers` writes it anew.

use std::fmt::Write as _;

use emailasset::provider::{Catalogue, Confidence, Entry, WayToToken, WithoutOAuth, facts, manifest};

const FILE: &str = "docs/providers/reference.md";

#[test]
fn the_page_of_providers_says_what_the_catalogue_says() {
    let page = page(Catalogue::built_in().unwrap());
    let path = super::root().join(FILE);
    if std::env::var_os("UPDATE_PROVIDERS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let read = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        read == page,
        "{FILE} is out of date: run UPDATE_PROVIDERS=1 cargo test --test docs providers"
    );
}

const INTRODUCTION: &str = "\
# Providers

Made of `src/provider/catalogue.yaml` by a test; edit that file. `kubectl emailasset providers` tells the same of the version that you have, with `-o json` for programs.

`spec.provider` names an entry. Without it, and without an issuer or a URL of your own, the mailbox's domain names it where that is certain; `status.endpoints.provider` shows which. A domain of your own may be hosted anywhere, so
it names none.

How sure a fact is:

| | |
|---|---|
| documented | read in the vendor's own documentation, or in an RFC |
| in use | mail programs in wide use do it |
| reported | somebody says so |
| unchecked | from memory, not read again |

The column *facts* has the least certain of endpoints, client authentication, servers and their scopes. The numbers behind a fact are those of the sources below its table. What is wrong can be corrected in the spec: each of these has a field there.

";

fn page(catalogue: &Catalogue) -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("| provider | | grants | facts |\n|---|---|---|---|\n");
    for (key, entry) in catalogue.entries() {
        let grants: Vec<_> = entry.ways().into_iter().map(WayToToken::as_str).collect();
        writeln!(
            text,
            "| [`{key}`](#{key}) | {} | {} | {} |",
            cell(&entry.display_name),
            grants.join(", "),
            entry.confidence().as_str()
        )
        .unwrap();
    }
    for (key, entry) in catalogue.entries() {
        section(&mut text, key, entry);
    }
    text.push_str("\n## Without OAuth\n\n");
    text.push_str(
        "These let no mail program in with OAuth. Nothing can be kept for them in this version; passwords (`spec.password`) come in a later one.\n\n",
    );
    text.push_str("| provider | | mailboxes at | what to do there | |\n|---|---|---|---|---|\n");
    for (key, provider) in catalogue.without_oauth() {
        row_without_oauth(&mut text, key, provider);
    }
    text
}

fn section(text: &mut String, key: &str, entry: &Entry) {
    writeln!(text, "\n## {key}\n").unwrap();
    if entry.display_name != key {
        writeln!(text, "{}.\n", entry.display_name).unwrap();
    }
    text.push_str("| | | |\n|---|---|---|\n");
    let mut sources: Vec<String> = Vec::new();
    let facts = facts(entry);
    for facts in facts.chunk_by(|one, next| (one.name, &one.evidence) == (next.name, &next.evidence)) {
        let Some(first) = facts.first() else { continue };
        let stands = first.evidence.as_ref().map(|(sure, source)| {
            let place = sources.iter().position(|known| known == source).unwrap_or_else(|| {
                sources.push(source.clone());
                sources.len() - 1
            });
            format!("{} ({})", sure.as_str(), place + 1)
        });
        let texts: Vec<String> = facts.iter().map(|fact| cell(&fact.text)).collect();
        let stands = stands.unwrap_or_default();
        writeln!(text, "| {} | {} | {stands} |", first.name, texts.join("<br>")).unwrap();
    }
    text.push('\n');
    for (place, source) in sources.iter().enumerate() {
        writeln!(text, "{}. {source}", place + 1).unwrap();
    }
    if let Some(manifest) = manifest(key, entry) {
        writeln!(text, "\n```yaml\n{}\n```", manifest.trim_end()).unwrap();
    }
}

fn row_without_oauth(text: &mut String, key: &str, provider: &WithoutOAuth) {
    let evidence: Vec<_> = provider
        .evidence
        .iter()
        .map(|evidence| stands(evidence.sure, &evidence.source))
        .collect();
    writeln!(
        text,
        "| `{key}` | {} | {} | {} | {} |",
        cell(&provider.display_name),
        provider.domains.join(", "),
        cell(&provider.instead),
        evidence.join("; ")
    )
    .unwrap();
}

fn stands(sure: Confidence, source: &str) -> String {
    format!("{}: {}", sure.as_str(), cell(source))
}

/// A text in a cell: bars would end it, and braces and stars mean themselves.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}
