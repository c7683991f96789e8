//! `spec.oauth2.parameters` against what the provider knows, and templates with the values in their places.
//!
//! A value becomes part of a URL's path and must not be able to become more of it. Hosts hold only words of a choice, which the catalogue alone writes (invariant 11).

use std::collections::BTreeMap;

use url::Url;

use super::{Provider, ResolveError, parse_url};
use crate::provider::catalogue::{EntryServer, Parameter, placeholders};

/// What is known to fill templates with.
pub(super) struct Values<'a> {
    provider: Option<Provider<'a>>,
    /// By name: parameters, and the words of the choice that was made.
    words: BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    /// Checks what the spec gives. A choice that it leaves open is made by the mailbox's domain, where the entry is certain of it.
    pub(super) fn of(
        provider: Option<Provider<'a>>,
        given: &BTreeMap<String, String>,
        domain: &str,
    ) -> Result<Self, ResolveError> {
        for (name, value) in given {
            check(provider, name, value)?;
        }
        let mut words = BTreeMap::new();
        for (name, parameter) in provider.iter().flat_map(|provider| &provider.entry.parameters) {
            let by_domain = || {
                let certain = |choice: &&String| {
                    let choice = parameter.choices.get(*choice);
                    choice.is_some_and(|choice| choice.domains.iter().any(|own| own == domain))
                };
                parameter.choices.keys().find(certain)
            };
            let value = given
                .get(name)
                .or(parameter.fixed.as_ref())
                .or_else(by_domain)
                .or(parameter.default.as_ref());
            let Some(value) = value else { continue };
            if let Some(choice) = parameter.choices.get(value) {
                words.extend(choice.words.clone());
            }
            words.insert(name.clone(), value.clone());
        }
        Ok(Self { provider, words })
    }

    /// By name.
    pub(super) const fn words(&self) -> &BTreeMap<String, String> {
        &self.words
    }

    /// The template's URL. `field` names it in messages.
    pub(super) fn fill(&self, field: &'static str, template: &str) -> Result<Url, ResolveError> {
        parse_url(field, &self.fill_in(template)?)
    }

    /// The template with the values in their places. Names that are no parameters stay.
    pub(super) fn fill_in(&self, template: &str) -> Result<String, ResolveError> {
        let mut filled = template.to_owned();
        for name in placeholders(template) {
            match self.words.get(name) {
                Some(value) => filled = filled.replace(&format!("{{{name}}}"), value),
                None => self.is_no_parameter(name)?,
            }
        }
        Ok(filled)
    }

    /// The entry's server for mailboxes of this domain, with its host filled in.
    pub(super) fn server(&self, server: &EntryServer, domain: &str) -> Result<EntryServer, ResolveError> {
        let own = |provider: Provider<'_>| provider.entry.all_domains().any(|own| own == domain);
        let others = server.host_of_own_domains.as_ref();
        let host = others
            .filter(|_| !self.provider.is_some_and(own))
            .unwrap_or(&server.host);
        Ok(EntryServer {
            host: self.fill_in(host)?,
            ..server.clone()
        })
    }

    /// A parameter, or a word of its choices, that has no value must be given.
    fn is_no_parameter(&self, name: &str) -> Result<(), ResolveError> {
        let Some(provider) = self.provider else { return Ok(()) };
        let sets = |parameter: &Parameter| {
            let mut choices = parameter.choices.values();
            choices.any(|choice| choice.words.contains_key(name))
        };
        let parameters = &provider.entry.parameters;
        let Some((name, parameter)) = parameters
            .iter()
            .find(|(own, parameter)| *own == name || sets(parameter))
        else {
            return Ok(());
        };
        let choices = match list(parameter.choices.keys()) {
            none if none.is_empty() => String::new(),
            choices => format!("; one of {choices}"),
        };
        Err(ResolveError::MissingParameter {
            provider: provider.key.to_owned(),
            name: name.clone(),
            description: format!("{}{choices}", parameter.description),
            example: parameter.example.clone(),
        })
    }
}

fn check(provider: Option<Provider<'_>>, name: &str, value: &str) -> Result<(), ResolveError> {
    let known = provider.and_then(|provider| Some((provider, provider.entry.parameters.get(name)?)));
    let Some((provider, parameter)) = known.filter(|(_, parameter)| parameter.fixed.is_none()) else {
        return Err(unknown(provider, name));
    };
    let plain = value
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !plain || value.trim_matches('.').is_empty() {
        return Err(ResolveError::UnsafeParameter { name: name.to_owned() });
    }
    if !parameter.choices.is_empty() && !parameter.choices.contains_key(value) {
        return Err(ResolveError::UnknownChoice {
            provider: provider.key.to_owned(),
            name: name.to_owned(),
            given: value.to_owned(),
            accepted: list(parameter.choices.keys()),
        });
    }
    Ok(())
}

fn unknown(provider: Option<Provider<'_>>, name: &str) -> ResolveError {
    let names = |provider: Provider<'_>| {
        let open = provider
            .entry
            .parameters
            .iter()
            .filter(|(_, parameter)| parameter.fixed.is_none());
        list(open.map(|(name, _)| name))
    };
    let accepted = match provider.map(names).unwrap_or_default() {
        none if none.is_empty() => "it takes no parameters, so leave it out".to_owned(),
        names => format!("it takes {names}"),
    };
    let provider = provider.map_or_else(
        || "a server without a provider".to_owned(),
        |found| found.key.to_owned(),
    );
    ResolveError::UnknownParameter {
        provider,
        name: name.to_owned(),
        accepted,
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.cloned().collect::<Vec<_>>().join(", ")
}
