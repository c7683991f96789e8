//! Whether entries can be used: what the code relies on is checked once, when the catalogue is read.

use std::collections::BTreeMap;

use super::templates::{example_url, host_part, placeholders, with_words};
use super::{Catalogue, CatalogueError, Entry, EntryIdentity, EntryServer, Parameter, WayToToken};
use crate::provider::hosts::Authority;
use crate::provider::sign_in::is_uuid;

/// Each domain belongs to one entry.
pub(super) fn domains(catalogue: &Catalogue) -> Result<(), CatalogueError> {
    let of_entries = catalogue
        .entries()
        .flat_map(|(key, entry)| entry.all_domains().map(move |domain| (key, domain)));
    let of_others = catalogue
        .without_oauth()
        .flat_map(|(key, provider)| provider.domains.iter().map(move |domain| (key, domain.as_str())));
    let mut owners = BTreeMap::new();
    for (key, domain) in of_entries.chain(of_others) {
        let problem = |problem: String| CatalogueError::Entry {
            key: key.to_owned(),
            problem,
        };
        if !is_host(domain) || !domain.contains('.') {
            return Err(problem(format!("{domain:?} is no domain in lower case")));
        }
        if let Some(owner) = owners.insert(domain, key) {
            return Err(problem(format!("domain {domain} belongs to {owner} too")));
        }
    }
    Ok(())
}

/// What takes an entry's place for a grant offers that grant, at the same hosts: whoever names a provider means its servers.
pub(super) fn stand_ins(catalogue: &Catalogue) -> Result<(), CatalogueError> {
    for (key, entry) in catalogue.entries() {
        for (way, other) in &entry.offered_by {
            let stands_in = catalogue
                .get(other)
                .is_some_and(|other| other.ways().contains(way) && other.token_hosts() == entry.token_hosts());
            if !stands_in || entry.ways().contains(way) {
                return Err(CatalogueError::Entry {
                    key: key.to_owned(),
                    problem: format!("{other} cannot stand in for grant {}", way.as_str()),
                });
            }
        }
    }
    Ok(())
}

/// A host name in lower case that nothing has to be done to before it is used.
fn is_host(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    plain && Authority::parse(text).is_some_and(|host| host.to_string() == text)
}

impl Entry {
    /// Whether the entry can be used; else what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        self.check_parameters()?;
        let identity = self.identity.as_ref();
        let templates = [
            self.token_url.as_ref(),
            self.refresh_url.as_ref(),
            self.authorization_url.as_ref(),
            self.device_authorization_url.as_ref(),
            self.revocation_url.as_ref(),
            identity.map(|identity| &identity.keys_url),
            identity.and_then(|identity| identity.userinfo_url.as_ref()),
        ];
        for template in templates.into_iter().flatten() {
            self.check_template(template, None)?;
        }
        self.check_ways()?;
        self.check_revocation()?;
        if let Some(identity) = identity {
            self.check_identity(identity)?;
        }
        for server in [&self.smtp, &self.imap, &self.pop3].into_iter().flatten() {
            self.check_server(server)?;
        }
        if let Some(host) = self.more_token_hosts.iter().find(|host| !is_host(host)) {
            return Err(format!("moreTokenHosts has {host:?}, which is no host name"));
        }
        if self.client_authentication.is_empty() {
            return Err("clientAuthentication is empty".into());
        }
        if self.refresh.rate_limit.is_some_and(|limit| limit.max == 0) {
            return Err("refresh.rateLimit allows nothing".into());
        }
        Ok(())
    }

    fn check_parameters(&self) -> Result<(), String> {
        let choosing = self
            .parameters
            .values()
            .filter(|parameter| !parameter.choices.is_empty());
        if choosing.count() > 1 {
            return Err("more than one parameter has choices".into());
        }
        for (name, parameter) in &self.parameters {
            self.check_parameter(parameter)
                .map_err(|problem| format!("parameter {name} {problem}"))?;
        }
        Ok(())
    }

    fn check_parameter(&self, parameter: &Parameter) -> Result<(), String> {
        if parameter.fixed.is_some() && parameter.default.is_some() {
            return Err("has both fixed and default".into());
        }
        let choices = &parameter.choices;
        let Some(first) = choices.values().next() else {
            return Ok(());
        };
        let given = [&parameter.default, &parameter.fixed];
        let mut given = given.into_iter().flatten().chain([&parameter.example]);
        if let Some(stray) = given.find(|value| !choices.contains_key(*value)) {
            return Err(format!("has {stray:?}, which is none of its choices"));
        }
        for (value, choice) in choices {
            if !choice.words.keys().eq(first.words.keys()) {
                return Err(format!("has a choice {value} with other words than the rest"));
            }
            if let Some(word) = choice.words.keys().find(|word| self.parameters.contains_key(*word)) {
                return Err(format!("has a word {word} that is also a parameter"));
            }
            if let Some(word) = choice.words.values().find(|word| !is_host(word)) {
                return Err(format!("has a choice {value} with {word:?}, which is no host name"));
            }
        }
        Ok(())
    }

    fn check_ways(&self) -> Result<(), String> {
        let ways = self.ways();
        if let Some(way) = ways.iter().find(|way| self.not_offered.contains_key(way)) {
            return Err(format!(
                "it offers {0} and says why it does not offer {0}",
                way.as_str()
            ));
        }
        let needs = [
            (
                WayToToken::AuthorizationCode,
                self.authorization_url.is_some(),
                "authorizationURL",
            ),
            (
                WayToToken::DeviceCode,
                self.device_authorization_url.is_some(),
                "deviceAuthorizationURL",
            ),
        ];
        for (way, there, field) in needs {
            let offered = ways.contains(&way);
            if offered && !there && !self.is_of_ones_own() {
                return Err(format!("it offers {} and has no {field}", way.as_str()));
            }
            if !offered && there {
                return Err(format!("it has {field} and does not offer {}", way.as_str()));
            }
        }
        if ways.contains(&WayToToken::JWTBearer) && self.assertion.is_none() {
            return Err("it offers JWTBearer and has no assertion".into());
        }
        Ok(())
    }

    /// What is given back is a credential: it goes where it came from.
    fn check_revocation(&self) -> Result<(), String> {
        let at_home = self.places().into_iter().all(|place| {
            let hosts = place.token_hosts();
            place.revocation_host().is_none_or(|host| hosts.contains(&host))
        });
        if at_home {
            Ok(())
        } else {
            Err("revocationURL is at no host of the token endpoints".into())
        }
    }

    fn check_server(&self, server: &EntryServer) -> Result<(), String> {
        for host in [Some(&server.host), server.host_of_own_domains.as_ref()]
            .into_iter()
            .flatten()
        {
            for words in self.all_words() {
                let filled = with_words(host, words);
                if !is_host(&filled) {
                    return Err(format!("{host:?} is no host name in lower case"));
                }
            }
        }
        Ok(())
    }

    fn check_identity(&self, identity: &EntryIdentity) -> Result<(), String> {
        let Some(tenancy) = &identity.tenancy else {
            return self.check_template(&identity.issuer, None);
        };
        self.check_template(&identity.issuer, Some("tid"))?;
        self.check_template(&tenancy.metadata_url, Some("tenant"))?;
        if !identity.issuer.contains("{tid}") {
            return Err("each tenant is an issuer, but the issuer has no {tid}".into());
        }
        if !self.parameters.contains_key(&tenancy.parameter) {
            return Err(format!(
                "tenancy uses {}, which is not among the parameters",
                tenancy.parameter
            ));
        }
        if !is_uuid(&tenancy.personal.id) {
            return Err("the ID of the tenant of personal accounts is no UUID in lower case".into());
        }
        Ok(())
    }

    /// The words of each choice of the parameter that chooses hosts; without one, none once.
    fn all_words(&self) -> Vec<Option<&BTreeMap<String, String>>> {
        match self.choosing() {
            Some((_, choices)) => choices.values().map(|choice| Some(&choice.words)).collect(),
            None => vec![None],
        }
    }

    fn check_template(&self, template: &str, besides: Option<&str>) -> Result<(), String> {
        for words in self.all_words() {
            let filled = with_words(template, words);
            let url = example_url(&filled).ok_or_else(|| format!("{template:?} is no URL"))?;
            if host_part(&filled) != url.host_str() {
                return Err(format!(
                    "{template:?} must be https, with a host that is written out in lower case, and no port"
                ));
            }
            let known = |name: &str| Some(name) == besides || self.parameters.contains_key(name);
            if let Some(name) = placeholders(&filled).find(|name| !known(name)) {
                return Err(format!(
                    "{template:?} uses {{{name}}}, which is not among the parameters"
                ));
            }
        }
        Ok(())
    }
}
