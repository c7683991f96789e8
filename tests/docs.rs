//! The documents keep up with the code: every reason has its paragraph, every link leads somewhere, every manifest is one that the API accepts.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking, in helpers too"
)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use emailasset::api::{EmailAsset, EmailProvider, Reason, validate_provider};

#[path = "docs/consumers.rs"]
mod consumers;
#[path = "docs/providers.rs"]
mod providers;

#[test]
fn every_reason_has_a_paragraph_in_troubleshooting() {
    let page = read("docs/troubleshooting.md");
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    for reason in Reason::ALL {
        assert!(
            headings.contains(&reason.as_str()),
            "docs/troubleshooting.md has no heading for {reason}"
        );
        let link = format!("(#{})", reason.as_str().to_lowercase());
        assert!(
            page.contains(&link),
            "the table of docs/troubleshooting.md has no link {link}"
        );
    }
    for section in page.split("\n## ").skip(1) {
        let (heading, paragraph) = section.split_once('\n').unwrap_or((section, ""));
        assert!(
            paragraph.trim().len() > 80,
            "docs/troubleshooting.md says nearly nothing about {heading}"
        );
    }
    for heading in headings {
        assert!(
            Reason::parse(heading).is_some(),
            "docs/troubleshooting.md explains {heading}, which is no reason"
        );
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for page in pages() {
        let folder = page.parent().unwrap();
        for link in links(&fs::read_to_string(&page).unwrap()) {
            let file = link.split('#').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let target = if file.is_empty() {
                page.clone()
            } else {
                folder.join(file)
            };
            assert!(
                target.exists(),
                "{} links to {link}, which is not there",
                page.display()
            );
            let Some((_, heading)) = link.split_once('#') else {
                continue;
            };
            assert!(
                anchors(&fs::read_to_string(&target).unwrap()).contains(&heading.to_owned()),
                "{} links to {link}, and there is no such heading",
                page.display()
            );
        }
    }
}

#[test]
fn every_block_of_yaml_can_be_read() {
    for Block { place, text } in pages().iter().flat_map(|page| blocks(page)) {
        let read: Result<Vec<serde_json::Value>, _> = serde_saphyr::from_multiple(&text);
        assert!(read.is_ok(), "{place}: {}", read.unwrap_err());
    }
}

/// By `kubectl emailasset check`: fields, words, the rules of the API server, the operator's own, and the catalogue.
#[test]
fn every_asset_in_the_documents_passes_the_operators_own_rules() {
    let (mut assets, mut pages_with_assets) = (0, Vec::new());
    for page in pages() {
        for Block { place, text } in blocks(&page).into_iter().filter(is_asset) {
            let said = check(&text);
            // A guide that leads to such a token says so itself.
            let of_app = |line: &&str| line.starts_with("warning:") && line.contains("may open more than");
            let rest: Vec<&str> = said.lines().filter(|line| !of_app(line)).collect();
            assert_eq!(rest, ["1 EmailAsset checked, no errors."], "{place}:\n{text}");
            let asset: EmailAsset = serde_saphyr::from_str(&text).unwrap();
            let checked = emailasset::api::validate(&asset, &emailasset::api::AllowedKeys::default());
            assert_eq!(checked, Ok(()), "{place}");
            assets += 1;
            pages_with_assets.push(page.clone());
        }
    }
    assert!(assets >= 8, "only {assets} are found");
    for page in pages() {
        let guide = page.parent().unwrap().ends_with("providers");
        assert!(
            !guide || pages_with_assets.contains(&page),
            "{} ends in no manifest",
            page.display()
        );
    }
    let of_readme = pages_with_assets.iter().filter(|page| page.ends_with("README.md"));
    assert_eq!(of_readme.count(), 3, "Google, Microsoft and a server of one's own");
}

#[test]
fn every_email_provider_in_the_documents_passes_the_operators_own_rules() {
    let mut tried = 0;
    for page in pages() {
        for block in blocks(&page) {
            if block.text.lines().any(|line| line == "kind: EmailProvider") {
                let provider: EmailProvider = serde_saphyr::from_str(&block.text).unwrap();
                assert_eq!(validate_provider(&provider), Ok(()), "{}", page.display());
                tried += 1;
            }
        }
    }
    assert!(tried > 0, "no EmailProvider is shown");
}

#[test]
fn a_wrong_asset_would_be_found() {
    let bad = "apiVersion: emailasset.dev/v1alpha1\nkind: EmailAsset\nmetadata: {name: support}\nspec: {email: x, oauth2: {grant: Device}}\n";
    let said = check(bad);
    assert!(said.contains("spec.oauth2.grant") && said.contains("error"), "{said}");
}

/// A block of YAML in a page, and where it stands.
struct Block {
    place: String,
    text: String,
}

fn is_asset(block: &Block) -> bool {
    block.text.lines().any(|line| line == "kind: EmailAsset")
}

/// The blocks marked as YAML, also those that are indented because they belong to a step of a list.
fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() != "```yaml" {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let inside = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| line.trim() != "```");
        let cut: Vec<_> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
        blocks.push(Block {
            place: format!("{} line {}", page.display(), number + 1),
            text: cut.join("\n") + "\n",
        });
    }
    blocks
}

/// What the plugin says about a manifest.
fn check(manifest: &str) -> String {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_kubectl-emailasset"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    plugin.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    String::from_utf8(plugin.wait_with_output().unwrap().stdout).unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, in whatever folder of `docs`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// What links call the headings of a page: lower case, hyphens for spaces, nothing but letters and digits besides.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let name = |line: &str| -> String {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|letter| letter.is_alphanumeric() || " -".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(name).collect()
}

/// The targets of Markdown links: what stands in `](…)`.
fn links(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1);
    after.filter_map(|rest| rest.split(')').next()).collect()
}
