//! `check`: manifests held against the operator's own rules, without a cluster.
//!
//! ```text
//! file ──> documents ──> schema (fields, types, words) ──> rules in code ──> catalogue ──> redirect URI
//! ```

mod clients;
mod documents;
mod nearest;
mod schema;

#[cfg(test)]
mod tests;

use serde_json::Value;
use url::Url;

use clients::{ClientFile, ClientSecret};
use documents::{Document, documents};
pub(super) use nearest::nearest;

use super::arguments::CheckArguments;
use super::exit::{Exit, Problem};
use super::files;
use super::terminal::{Screen, harmless, print, tell};
use crate::api::{self, AllowedKeys, EmailAsset, Grant};
use crate::formats::{Mailbox, Outline};
use crate::provider::{self, Catalogue, ResolveError};

const API_VERSION: &str = "emailasset.dev/v1alpha1";
const KIND: &str = "EmailAsset";
/// Longest name that is repeated, in characters.
const LONGEST_NAME: usize = 253;

/// Checks files and says what is wrong with them.
pub(super) fn run(arguments: &CheckArguments) -> Result<Exit, Problem> {
    let mut sources = Vec::new();
    for path in &arguments.files {
        let name = if path.as_os_str() == "-" {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let contents = files::read(path)?;
        let text = String::from_utf8(contents).map_err(|_| Problem::usage(format!("{name} is not text.")))?;
        sources.push((name, text));
    }
    let rules = Rules {
        allowed: AllowedKeys::new(arguments.allow_label.iter().map(|prefix| format!("{prefix}*"))),
        public_url: arguments.public_url.clone(),
    };
    let checked = check(&sources, &rules).map_err(|problem| Problem::new(Exit::Found, problem))?;
    Ok(report(&checked, Screen::of_output()))
}

fn report(checked: &Checked, screen: Screen) -> Exit {
    let errors = checked
        .problems
        .iter()
        .map(|line| format!("{} {line}\n", screen.bad("error:")));
    let warnings = checked
        .advice
        .iter()
        .map(|line| format!("{} {line}\n", screen.doubtful("warning:")));
    let mut lines: Vec<String> = errors.chain(warnings).collect();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    if checked.assets == 0 && checked.problems.is_empty() {
        tell("There is no EmailAsset in what was given.");
    } else if checked.problems.is_empty() {
        lines.push(format!("{} checked, no errors.\n", count(checked.assets, KIND)));
    } else {
        lines.push(format!(
            "{} checked, {}.\n",
            count(checked.assets, KIND),
            count(checked.problems.len(), "error")
        ));
    }
    print(&lines.concat());
    if checked.problems.is_empty() {
        Exit::Fine
    } else {
        Exit::Found
    }
}

/// By what is checked.
#[derive(Default)]
struct Rules {
    /// Keys of labels and annotations, as in the operator's settings.
    allowed: AllowedKeys,
    /// Where the sign-in pages are.
    public_url: Option<Url>,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Checked {
    assets: usize,
    problems: Vec<String>,
    advice: Vec<String>,
}

/// Where a document stands, as people find it.
struct Place<'a> {
    file: &'a str,
    document: &'a Document,
    name: String,
}

impl Place<'_> {
    fn says(&self, what: &str) -> String {
        let Document { number, line, .. } = self.document;
        format!("{}: document {number} (line {line}){}: {what}", self.file, self.name)
    }
}

fn check(sources: &[(String, String)], rules: &Rules) -> Result<Checked, String> {
    let catalogue = Catalogue::built_in().map_err(ToString::to_string)?;
    let schema = asset_schema().ok_or("The schema of this build cannot be read; please report this.")?;
    let files: Vec<(&str, Vec<Document>)> = sources
        .iter()
        .map(|(name, text)| (name.as_str(), documents(text)))
        .collect();
    let all = || {
        files
            .iter()
            .flat_map(|(file, documents)| documents.iter().map(move |document| (*file, document)))
    };
    let known = Known {
        files: read(all(), clients::client_file),
        secrets: read(all(), clients::client_secret),
    };
    let mut checked = Checked::default();
    for (file, document) in all() {
        let place = Place {
            file,
            document,
            name: named(document.value.as_ref().ok()),
        };
        match &document.value {
            Err(problem) => checked.problems.push(place.says(problem)),
            Ok(value) => match about(value) {
                About::Asset => {
                    checked.assets += 1;
                    match asset(value, &schema, rules, catalogue, &known) {
                        Ok(advice) => checked.advice.extend(advice.iter().map(|advice| place.says(advice))),
                        Err(problems) => checked
                            .problems
                            .extend(problems.iter().map(|problem| place.says(problem))),
                    }
                }
                About::Misnamed(problem) => checked.problems.push(place.says(&problem)),
                About::SomethingElse => {}
            },
        }
    }
    Ok(checked)
}

fn read<'a, T>(all: impl Iterator<Item = (&'a str, &'a Document)>, what: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    all.filter_map(|(_, document)| what(document.value.as_ref().ok()?))
        .collect()
}

/// The asset's name, for a person who looks for it.
fn named(value: Option<&Value>) -> String {
    let field = |path| value.and_then(|value| value.pointer(path)?.as_str());
    let Some(name) = field("/metadata/name") else {
        return String::new();
    };
    let kind = field("/kind").unwrap_or("object");
    let namespace = field("/metadata/namespace").map(|namespace| format!("{namespace}/"));
    let whole = format!("{kind} {}{name}", namespace.unwrap_or_default());
    format!(", {}", harmless(&whole, LONGEST_NAME))
}

enum About {
    Asset,
    /// It is meant to be ours and is not.
    Misnamed(String),
    SomethingElse,
}

fn about(value: &Value) -> About {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let ours = version.split('/').next() == Some("emailasset.dev");
    match (version == API_VERSION, kind == KIND) {
        (true, true) => About::Asset,
        (false, true) => {
            let given: String = version.chars().take(80).collect();
            About::Misnamed(format!("apiVersion: is {given:?}, accepted is {API_VERSION}"))
        }
        (_, false) if ours || nearest(kind, [KIND]).is_some() => {
            let given: String = kind.chars().take(80).collect();
            About::Misnamed(format!("kind: is {given:?}, accepted is {KIND}"))
        }
        _ => About::SomethingElse,
    }
}

fn asset_schema() -> Option<Value> {
    let definition = serde_json::to_value(api::crd()).ok()?;
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned()
}

/// What is among the documents besides the assets.
struct Known {
    files: Vec<ClientFile>,
    secrets: Vec<ClientSecret>,
}

/// The advice for an asset without errors, or its errors.
fn asset(
    value: &Value,
    schema: &Value,
    rules: &Rules,
    catalogue: &Catalogue,
    known: &Known,
) -> Result<Vec<String>, Vec<String>> {
    let mut problems = misplaced(value);
    match (schema.pointer("/properties/spec"), value.get("spec")) {
        (Some(schema), Some(written)) if !written.is_null() => {
            let found = schema::problems(written, schema);
            problems.extend(found.iter().map(|problem| below("spec", problem)));
        }
        _ => problems.push("spec: is missing".to_owned()),
    }
    problems.extend(unknown_provider(value, catalogue));
    if !problems.is_empty() {
        return Err(problems);
    }
    let asset: EmailAsset = serde_json::from_value(value.clone()).map_err(|error| {
        // It may quote a value, which has the right type here.
        vec![harmless(&error.to_string(), 300)]
    })?;
    if let Err(violations) = api::validate(&asset, &rules.allowed) {
        return Err(violations.iter().map(ToString::to_string).collect());
    }
    if asset.spec.provider_ref.is_some() {
        // Only the cluster knows what the EmailProvider says, and whether its rules cover the asset.
        return Ok(Vec::new());
    }
    let endpoints = match provider::resolve(&asset.spec, catalogue) {
        Ok(endpoints) => endpoints,
        // They are the operator's to find: here no server is asked.
        Err(ResolveError::Undiscovered { .. }) => return Ok(opens_more(&asset).into_iter().collect()),
        Err(error) => return Err(vec![error.to_string()]),
    };
    if let Some(secret) = &asset.spec.secret {
        Outline::new(&secret.formats, &Mailbox::of(&asset.token_secret_name(), &endpoints))
            .map_err(|refusal| vec![refusal.to_string()])?;
    }
    let public_url = rules.public_url.as_ref();
    let redirect_uri = public_url.and_then(|public_url| clients::redirect_uri(&asset, &endpoints, public_url));
    let of_redirect_uri = redirect_uri.and_then(|redirect_uri| clients::advice(&asset, &redirect_uri, &known.files));
    let of_secret = clients::advice_on_device_code(&asset, &endpoints, &known.secrets);
    let advice = of_redirect_uri.into_iter().chain(of_secret).chain(opens_more(&asset));
    Ok(advice.collect())
}

/// What a person should know who gives a token Secret away.
fn opens_more(asset: &EmailAsset) -> Option<String> {
    (asset.spec.oauth2.grant == Grant::ClientCredentials).then(|| {
        format!(
            "grant ClientCredentials: the token in Secret {} is the client's own, and may open more than {}. At Exchange it opens every mailbox that the app may open, for whoever \
             reads that Secret: give the app no more mailboxes than it needs",
            asset.token_secret_name(),
            harmless(&asset.spec.email, 254)
        )
    })
}

/// Said beside what the schema finds: a person wants to correct all at once.
fn unknown_provider(value: &Value, catalogue: &Catalogue) -> Option<String> {
    let given = value.pointer("/spec/provider")?.as_str()?;
    if catalogue.get(given).is_some() || catalogue.get_without_oauth(given).is_some() {
        return None;
    }
    let known: Vec<&str> = catalogue.keys().collect();
    let meant = nearest(given, known.iter().copied()).map(|meant| format!(" (did you mean {meant}?)"));
    let given: String = given.chars().take(80).collect();
    Some(format!(
        "spec.provider: is {given:?}, which is not in the catalogue: use one of {}{}, or leave it out and set spec.oauth2.tokenURL",
        known.join(", "),
        meant.unwrap_or_default()
    ))
}

/// A problem with a whole part begins with its colon.
fn below(part: &str, problem: &str) -> String {
    if problem.starts_with(':') {
        format!("{part}{problem}")
    } else {
        format!("{part}.{problem}")
    }
}

/// What is wrong at the top: fields that stand in no part, and a name that is missing.
fn misplaced(value: &Value) -> Vec<String> {
    const PARTS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    let fields = value.as_object().into_iter().flat_map(|fields| fields.keys());
    let mut problems: Vec<String> = fields
        .filter(|field| !PARTS.contains(&field.as_str()))
        .map(|field| match nearest(field, PARTS) {
            Some(meant) => format!("{field}: there is no such field (did you mean {meant}?)"),
            None => format!("{field}: there is no such field at the top; most likely it belongs below spec"),
        })
        .collect();
    let generated = value.pointer("/metadata/generateName").is_some();
    match value.pointer("/metadata/name") {
        Some(Value::String(name)) if !name.is_empty() => {}
        None if generated => {}
        None => problems.push("metadata.name: is missing".to_owned()),
        Some(_) => problems.push("metadata.name: has to be a text".to_owned()),
    }
    problems
}
