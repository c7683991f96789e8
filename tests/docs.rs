//! The documents keep up with the code: every reason has its paragraph, every link leads somewhere, every manifest is one that the API accepts.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking, in helpers too"
)]

use std::fs;
use std::path::{Path, PathBuf};

use emailasset::api::{EmailAsset, Reason};

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
fn every_manifest_of_the_readme_is_valid() {
    let readme = read("README.md");
    let manifests: Vec<_> = readme.split("```yaml\n").skip(1).collect();
    assert_eq!(manifests.len(), 3, "Google, Microsoft and a server of one's own");
    for manifest in manifests {
        let manifest = manifest.split("```").next().unwrap();
        let asset: EmailAsset = serde_saphyr::from_str(manifest).unwrap();
        let checked = emailasset::api::validate(&asset, &emailasset::api::AllowedKeys::default());
        assert_eq!(checked, Ok(()), "{manifest}");
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let in_docs = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = in_docs
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.extend([root().join("README.md"), root().join("CHANGELOG.md")]);
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
