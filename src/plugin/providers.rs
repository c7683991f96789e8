//! `providers`: what the catalogue knows, and below it the `EmailProvider`s that a namespace may use, where there is a cluster that tells.

mod shared;

use serde::Serialize;

use super::arguments::{ClusterArguments, DataFormat, ProvidersArguments};
use super::check::nearest;
use super::exit::{Exit, Problem};
use super::output;
use super::table;
use super::terminal::{Screen, print};
use super::words::wrapped;
use shared::Shared;

use crate::provider::{Catalogue, Confidence, Entry, Evidence, Fact, WayToToken, WithoutOAuth, facts, manifest};

/// Columns of the label before each fact.
const LABEL: usize = 24;
/// So many domains are named in the table.
const DOMAINS: usize = 2;
const TITLES: [&str; 5] = ["PROVIDER", "NAME", "GRANTS", "MAILBOXES", "FACTS"];
/// The places of those titles that are left out where a terminal is narrow, in this order.
const LEFT_OUT: [usize; 2] = [3, 1];

/// Prints it.
pub(super) async fn run(arguments: &ProvidersArguments, cluster: &ClusterArguments) -> Result<Exit, Problem> {
    let catalogue = Catalogue::built_in().map_err(|error| Problem::new(Exit::Found, error.to_string()))?;
    let screen = Screen::of_output();
    let text = match (&arguments.key, arguments.output) {
        (None, None) => {
            let shared = shared::seen(cluster).await.map(|shared| shared.table(screen));
            [list(catalogue, screen), shared.unwrap_or_default()].concat()
        }
        (None, Some(format)) => list_as_data(catalogue, shared::seen(cluster).await.as_ref(), format)?,
        (Some(key), format) => one(catalogue, key, format, screen)?,
    };
    print(&text);
    Ok(Exit::Fine)
}

/// All keys, for completion, each with the provider's name.
pub(super) fn keys() -> Vec<(String, String)> {
    let Ok(catalogue) = Catalogue::built_in() else {
        return Vec::new();
    };
    let with = catalogue.entries().map(|(key, entry)| (key, &entry.display_name));
    let without = catalogue
        .without_oauth()
        .map(|(key, provider)| (key, &provider.display_name));
    with.chain(without)
        .map(|(key, name)| (key.to_owned(), name.clone()))
        .collect()
}

fn one(catalogue: &Catalogue, key: &str, format: Option<DataFormat>, screen: Screen) -> Result<String, Problem> {
    match (catalogue.get(key), catalogue.get_without_oauth(key), format) {
        (Some(entry), _, None) => Ok(detail(key, entry, screen)),
        (Some(entry), _, Some(format)) => output::data(&OfEntry::of(key, entry), format),
        (None, Some(provider), None) => Ok(advice(key, provider, screen)),
        (None, Some(provider), Some(format)) => output::data(&OfOther { key, provider }, format),
        (None, None, _) => Err(unknown(catalogue, key)),
    }
}

fn unknown(catalogue: &Catalogue, key: &str) -> Problem {
    let all: Vec<&str> = catalogue
        .keys()
        .chain(catalogue.without_oauth().map(|(key, _)| key))
        .collect();
    let meant = nearest(key, all.iter().copied()).map(|meant| format!(" (did you mean {meant}?)"));
    let given: String = key.chars().take(80).collect();
    Problem::new(
        Exit::Found,
        format!(
            "{given:?} is not in the catalogue{}. There are {}.",
            meant.unwrap_or_default(),
            all.join(", ")
        ),
    )
}

fn list(catalogue: &Catalogue, screen: Screen) -> String {
    let some = |domains: &mut dyn Iterator<Item = &str>| {
        let all: Vec<&str> = domains.collect();
        let more = all.len().saturating_sub(DOMAINS);
        let named = all.into_iter().take(DOMAINS).collect::<Vec<_>>().join(", ");
        match (named.as_str(), more) {
            ("", _) => "-".to_owned(),
            (_, 0) => named,
            (_, more) => format!("{named}, {more} more"),
        }
    };
    let with = catalogue.entries().map(|(key, entry)| {
        let ways = entry.ways();
        [
            key.to_owned(),
            entry.display_name.clone(),
            ways.into_iter().map(WayToToken::as_str).collect::<Vec<_>>().join(", "),
            some(&mut entry.all_domains()),
            entry.confidence().as_str().to_owned(),
        ]
    });
    let without = catalogue.without_oauth().map(|(key, provider)| {
        [
            key.to_owned(),
            provider.display_name.clone(),
            "none".to_owned(),
            some(&mut provider.domains.iter().map(String::as_str)),
            surest_doubt(&provider.evidence).as_str().to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = with.chain(without).map(Vec::from).collect();
    table::grid(&TITLES, &rows, &LEFT_OUT, screen)
}

fn surest_doubt(evidence: &[Evidence]) -> Confidence {
    let sure = evidence.iter().map(|evidence| evidence.sure);
    sure.max().unwrap_or(Confidence::Memory)
}

fn list_as_data(catalogue: &Catalogue, shared: Option<&Shared>, format: DataFormat) -> Result<String, Problem> {
    output::data(
        &All {
            providers: catalogue
                .entries()
                .map(|(key, entry)| OfEntry::of(key, entry))
                .collect(),
            without_oauth: catalogue
                .without_oauth()
                .map(|(key, provider)| OfOther { key, provider })
                .collect(),
            email_providers: shared.map(|shared| shared.rules.as_slice()),
        },
        format,
    )
}

/// All providers, for programs.
#[derive(Serialize)]
struct All<'a> {
    providers: Vec<OfEntry<'a>>,
    #[serde(rename = "withoutOAuth")]
    without_oauth: Vec<OfOther<'a>>,
    #[serde(rename = "emailProviders", skip_serializing_if = "Option::is_none")]
    email_providers: Option<&'a [shared::Usable]>,
}

/// One provider, for programs.
#[derive(Serialize)]
struct OfEntry<'a> {
    key: &'a str,
    confidence: Confidence,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// One provider without OAuth, for programs.
#[derive(Serialize)]
struct OfOther<'a> {
    key: &'a str,
    #[serde(flatten)]
    provider: &'a WithoutOAuth,
}

impl<'a> OfEntry<'a> {
    fn of(key: &'a str, entry: &'a Entry) -> Self {
        Self {
            key,
            confidence: entry.confidence(),
            entry,
        }
    }
}

fn detail(key: &str, entry: &Entry, screen: Screen) -> String {
    let mut text = format!("{}, {}\n", screen.strong(key), entry.display_name);
    let mut before = "";
    for fact in facts(entry) {
        let label = if fact.name == before { "" } else { fact.name };
        paragraph(&mut text, label, &told(&fact, screen), screen);
        before = fact.name;
    }
    text.push_str("\nWhere this stands\n");
    for evidence in &entry.evidence {
        let source = format!("{}: {}", evidence.of.join(", "), evidence.source);
        paragraph(&mut text, evidence.sure.as_str(), &source, screen);
    }
    match manifest(key, entry) {
        Some(manifest) => {
            text.push_str("\nA manifest to start from\n\n");
            text.push_str(&manifest);
        }
        None => text.push_str("\nThis version carries out none of its grants.\n"),
    }
    text
}

/// A fact that is not from the vendor says so.
fn told(fact: &Fact, screen: Screen) -> String {
    match &fact.evidence {
        Some((sure, _)) if *sure > Confidence::Clients => {
            format!("{} {}", fact.text, screen.doubtful(&format!("({})", sure.as_str())))
        }
        _ => fact.text.clone(),
    }
}

fn advice(key: &str, provider: &WithoutOAuth, screen: Screen) -> String {
    let mut text = format!("{}, {}\n", screen.strong(key), provider.display_name);
    paragraph(
        &mut text,
        "grants",
        "none: it lets no mail program in with OAuth",
        screen,
    );
    paragraph(&mut text, "instead", &provider.instead, screen);
    paragraph(
        &mut text,
        "in this version",
        "nothing can be kept for it; passwords (spec.password) come in a later one",
        screen,
    );
    if !provider.domains.is_empty() {
        paragraph(&mut text, "mailboxes at", &provider.domains.join(", "), screen);
    }
    text.push_str("\nWhere this stands\n");
    for evidence in &provider.evidence {
        let source = format!("{}: {}", evidence.of.join(", "), evidence.source);
        paragraph(&mut text, evidence.sure.as_str(), &source, screen);
    }
    text
}

fn paragraph(text: &mut String, label: &str, sentences: &str, screen: Screen) {
    let width = screen.wrap_at().map(|width| width.saturating_sub(LABEL + 2).max(30));
    let mut label = label;
    for line in wrapped(sentences, width) {
        text.extend(["  ", &format!("{label:<LABEL$}"), &line, "\n"]);
        label = "";
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::plugin::terminal::Paint;

    fn catalogue() -> &'static Catalogue {
        Catalogue::built_in().unwrap()
    }

    const NARROW: Screen = Screen::Terminal {
        width: 60,
        paint: Paint::None,
    };

    #[test]
    fn the_list_has_a_line_for_each_provider() {
        let listed = list(catalogue(), Screen::Plain);
        let lines: Vec<&str> = listed.lines().collect();
        assert_eq!(lines.len(), keys().len() + 1);
        let line = |key: &str| {
            *lines
                .iter()
                .find(|line| line.split_whitespace().next() == Some(key))
                .unwrap()
        };
        let cells: Vec<&str> = line("google").split_whitespace().collect();
        assert_eq!(
            cells,
            [
                "google",
                "Google",
                "AuthorizationCode,_RefreshToken",
                "gmail.com,_googlemail.com",
                "in_use"
            ]
        );
        assert!(line("icloud").contains("none"));
        assert!(line("microsoft").contains("documented"));
        assert!(line("yahoo").contains("yahoo.com,_ymail.com,_") && line("yahoo").contains("_more"));
        let narrow = list(catalogue(), NARROW);
        assert!(!narrow.contains("MAILBOXES") && narrow.contains("GRANTS"), "{narrow}");
    }

    #[test]
    fn one_provider_is_told_with_all_that_one_needs() {
        let told = one(catalogue(), "zoho", None, Screen::Plain).unwrap();
        for part in [
            "zoho, Zoho Mail",
            "https://{accounts}/oauth/v2/token",
            "region eu: accounts accounts.zoho.eu, mail zoho.eu; known for mailboxes at zoho.eu, zohomail.eu",
            "smtp.{mail}:465 TLS (for domains of one's own smtppro.{mail}), scope ZOHOMAIL.PROTOCOL.SMTP (unchecked)",
            "10 refreshes of one refresh token in 10m",
            "Where this stands",
            "A manifest to start from",
            "provider: zoho",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
        let told = one(catalogue(), "icloud", None, Screen::Plain).unwrap();
        assert!(
            told.contains("app-specific password") && told.contains("spec.password"),
            "{told}"
        );
        let told = one(catalogue(), "microsoft", None, NARROW).unwrap();
        let too_long = told
            .lines()
            .take_while(|line| !line.contains("manifest"))
            .find(|line| line.chars().count() > 60 && line.split_whitespace().count() > 5);
        assert_eq!(too_long, None);
    }

    #[test]
    fn programs_get_the_facts_as_they_stand_in_the_catalogue() {
        let google = one(catalogue(), "google", Some(DataFormat::Json), Screen::Plain).unwrap();
        let google: Value = serde_json::from_str(&google).unwrap();
        assert_eq!(google["key"], "google");
        assert_eq!(google["tokenURL"], "https://oauth2.googleapis.com/token");
        assert_eq!(google["refreshToken"]["maxIdle"], "180d");
        assert_eq!(google["accessTokenLifetime"], "59m59s");
        assert_eq!(google["evidence"][0]["sure"], "Clients");
        let all = list_as_data(catalogue(), None, DataFormat::Json).unwrap();
        let all: Value = serde_json::from_str(&all).unwrap();
        let count = |name: &str| all[name].as_array().unwrap().len();
        assert_eq!(count("providers") + count("withoutOAuth"), keys().len());
        let yaml = one(catalogue(), "qq", Some(DataFormat::Yaml), Screen::Plain).unwrap();
        assert!(yaml.starts_with("key: qq\n"), "{yaml}");
    }

    #[test]
    fn a_key_that_is_not_there_gets_the_nearest() {
        let problem = one(catalogue(), "gogle", None, Screen::Plain).unwrap_err();
        assert_eq!(problem.exit, Exit::Found);
        assert!(
            problem
                .message
                .starts_with("\"gogle\" is not in the catalogue (did you mean google?). There are aol, "),
            "{problem}"
        );
    }
}
