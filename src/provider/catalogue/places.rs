//! Which hosts are a provider's own.
//!
//! Where a parameter chooses among hosts (a region), each choice is a *place* of its own: what belongs to one place is not sent to another.

use std::collections::BTreeMap;

use super::templates::{example_url, host_part, with_words};
use super::{Choice, Entry, EntryIdentity};
use crate::provider::hosts::Authority;

/// One place of a provider: the whole of it, or one choice of the parameter that chooses hosts.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Place<'a> {
    entry: &'a Entry,
    /// The parameter and its value.
    chosen: Option<(&'a str, &'a str)>,
    words: Option<&'a BTreeMap<String, String>>,
}

impl Entry {
    /// The hosts that may receive client secrets and refresh tokens because they are the provider's own, in all its places. Port 443 only.
    #[must_use]
    pub fn token_hosts(&self) -> Vec<Authority> {
        sorted(self.places().into_iter().flat_map(Place::token_hosts).collect())
    }

    /// What to give for the parameter that chooses among hosts, so that this is one of its own: the parameter and its value.
    #[must_use]
    pub fn choice_of_host(&self, host: &Authority) -> Option<(&str, &str)> {
        let places = self.places();
        places
            .into_iter()
            .find(|place| place.token_hosts().contains(host))
            .and_then(|place| place.chosen)
    }

    /// All its places; without a parameter that chooses, one.
    pub(in crate::provider) fn places(&self) -> Vec<Place<'_>> {
        let Some((parameter, choices)) = self.choosing() else {
            return vec![Place {
                entry: self,
                chosen: None,
                words: None,
            }];
        };
        choices
            .iter()
            .map(|(value, choice)| Place {
                entry: self,
                chosen: Some((parameter, value)),
                words: Some(&choice.words),
            })
            .collect()
    }

    /// The place that these words are of. Words that are missing leave their templates out.
    pub(in crate::provider) const fn place<'a>(&'a self, words: &'a BTreeMap<String, String>) -> Place<'a> {
        Place {
            entry: self,
            chosen: None,
            words: Some(words),
        }
    }

    /// The parameter that chooses among hosts.
    pub(in crate::provider) fn choosing(&self) -> Option<(&str, &BTreeMap<String, Choice>)> {
        self.parameters
            .iter()
            .find(|(_, parameter)| !parameter.choices.is_empty())
            .map(|(name, parameter)| (name.as_str(), &parameter.choices))
    }
}

impl Place<'_> {
    /// The hosts that may receive client secrets and refresh tokens.
    pub(in crate::provider) fn token_hosts(self) -> Vec<Authority> {
        let entry = self.entry;
        let urls = [&entry.token_url, &entry.refresh_url, &entry.device_authorization_url];
        let named = entry.more_token_hosts.iter().filter_map(|host| Authority::parse(host));
        let hosts = self.hosts(urls.into_iter().flatten()).into_iter().chain(named);
        sorted(hosts.map(Authority::on_https).collect())
    }

    /// The hosts where people sign in.
    pub(in crate::provider) fn sign_in_hosts(self) -> Vec<Authority> {
        let urls = [&self.entry.authorization_url, &self.entry.device_authorization_url];
        self.hosts(urls.into_iter().flatten())
    }

    /// The host where people sign in in a browser.
    pub(in crate::provider) fn authorization_host(self) -> Option<Authority> {
        self.hosts(&self.entry.authorization_url).into_iter().next()
    }

    /// The host where tokens are given back.
    pub(super) fn revocation_host(self) -> Option<Authority> {
        self.hosts(&self.entry.revocation_url).into_iter().next()
    }

    fn hosts<'t>(self, templates: impl IntoIterator<Item = &'t String>) -> Vec<Authority> {
        let filled = templates.into_iter().map(|template| with_words(template, self.words));
        let whole = filled.filter(|template| host_part(template).is_some_and(|host| !host.contains('{')));
        whole
            .filter_map(|template| Some(Authority::of(&example_url(&template)?)))
            .collect()
    }
}

impl EntryIdentity {
    /// The hosts whose issuers are this provider's.
    pub(in crate::provider) fn hosts(&self) -> Vec<Authority> {
        let url = example_url(&self.issuer);
        url.map(|url| Authority::of(&url)).into_iter().collect()
    }
}

fn sorted(mut hosts: Vec<Authority>) -> Vec<Authority> {
    hosts.sort();
    hosts.dedup();
    hosts
}
