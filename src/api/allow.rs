//! Who may use an [`EmailProvider`](super::EmailProvider): its rules held against an asset.
//!
//! One rule must cover everything: namespace, grant, and every name that the asset gives. The account that signs in is covered with them, because a sign-in counts
//! only for the account that the asset names (design section 7). A refusal says what no rule covers and not what the rules are: they tell of other teams.

use std::collections::BTreeMap;
use std::fmt;

use super::provider::{AllowRule, AllowedNamespaces, EmailProviderSpec};
use super::spec::{EmailAssetSpec, Grant};
use super::validate::is_email;

/// What an asset asks for.
#[derive(Debug, Clone, Copy)]
pub struct Applicant<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// That namespace's labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Its spec.
    pub spec: &'a EmailAssetSpec,
    /// Who signed in for the grant that is stored, unless that is the account that the spec names.
    pub account: Option<&'a str>,
}

/// What no rule covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotCovered {
    /// There are no rules.
    Everything,
    /// The namespace.
    Namespace(String),
    /// The grant, in this namespace.
    Grant(Grant),
    /// A name.
    Name {
        /// Where it stands.
        field: &'static str,
        /// The name.
        name: String,
        /// The grant.
        grant: Grant,
    },
    /// Tokens that open more than the one mailbox.
    AppWide,
    /// Each for itself is covered, but not by the same rule.
    Together,
}

impl fmt::Display for NotCovered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => formatter.write_str("it has no rules in spec.allow, so nobody may use it"),
            Self::Namespace(namespace) => write!(
                formatter,
                "none of the rules in its spec.allow covers namespace {namespace}"
            ),
            Self::Grant(grant) => write!(
                formatter,
                "none of the rules in its spec.allow that cover this namespace covers grant {}",
                grant.as_str()
            ),
            Self::Name { field, name, grant } => {
                write!(
                    formatter,
                    "none of the rules in its spec.allow that cover this namespace and grant covers {name} ({field})"
                )?;
                if grant.needs_sign_in() {
                    Ok(())
                } else {
                    write!(
                        formatter,
                        "; grant {} needs the very address in mailboxes, since no sign-in proves whose mailbox it is: a pattern such as *@example.com does not count",
                        grant.as_str()
                    )
                }
            }
            Self::AppWide => formatter.write_str(
                "the tokens of grant ClientCredentials open every mailbox that the app may open, and its spec.appWideToken does not say Acknowledged",
            ),
            Self::Together => formatter.write_str(
                "no single rule in its spec.allow covers email, username and loginEmail of this asset together",
            ),
        }
    }
}

impl EmailProviderSpec {
    /// Whether this asset may use the provider.
    ///
    /// # Errors
    /// What no rule covers.
    pub fn permits(&self, applicant: &Applicant<'_>) -> Result<(), NotCovered> {
        if self.allow.is_empty() {
            return Err(NotCovered::Everything);
        }
        let here = self.rules_for(applicant.namespace, applicant.labels);
        if here.is_empty() {
            return Err(NotCovered::Namespace(applicant.namespace.to_owned()));
        }
        let grant = applicant.spec.oauth2.grant;
        let with_grant: Vec<&AllowRule> = here.into_iter().filter(|rule| rule.covers_grant(grant)).collect();
        if with_grant.is_empty() {
            return Err(NotCovered::Grant(grant));
        }
        if grant == Grant::ClientCredentials && self.app_wide_token.is_none() {
            return Err(NotCovered::AppWide);
        }
        let names = applicant.names();
        let whole = |rule: &&AllowRule| names.iter().all(|(_, name)| rule.covers_name(name, grant));
        if with_grant.iter().any(whole) {
            return Ok(());
        }
        let by_none = |name: &str| !with_grant.iter().any(|rule| rule.covers_name(name, grant));
        Err(names
            .into_iter()
            .find(|(_, name)| by_none(name))
            .map_or(NotCovered::Together, |(field, name)| NotCovered::Name {
                field,
                name: name.to_owned(),
                grant,
            }))
    }

    /// The rules that cover a namespace with these labels.
    #[must_use]
    pub fn rules_for(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Vec<&AllowRule> {
        let covers = |rule: &&AllowRule| rule.namespaces.cover(namespace, labels);
        self.allow.iter().filter(covers).collect()
    }

    /// Whether somebody may use it by the labels of a namespace.
    #[must_use]
    pub fn looks_at_labels(&self) -> bool {
        let by_labels = |namespaces: &AllowedNamespaces| {
            let labels = namespaces.selector.as_ref().map(|selector| &selector.match_labels);
            labels.is_some_and(|labels| !labels.is_empty())
        };
        self.allow.iter().any(|rule| by_labels(&rule.namespaces))
    }
}

impl<'a> Applicant<'a> {
    /// Every name by which the asset could reach a mailbox, and where it stands.
    fn names(&self) -> Vec<(&'static str, &'a str)> {
        let spec = self.spec;
        let login = spec.oauth2.login_email.as_deref();
        let named = [
            ("spec.email", Some(spec.email.as_str())),
            ("spec.username", spec.username.as_deref()),
            ("spec.oauth2.loginEmail", login),
            ("the account that signed in", self.account),
        ];
        named
            .into_iter()
            .filter_map(|(field, name)| Some((field, name?)))
            .collect()
    }
}

impl AllowedNamespaces {
    fn cover(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let named = self.names.iter().any(|name| name == namespace);
        let labelled = self.selector.as_ref().map(|selector| {
            let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
            selector.match_labels.iter().all(has)
        });
        match labelled {
            Some(labelled) => labelled && (self.names.is_empty() || named),
            None => named,
        }
    }
}

impl AllowRule {
    /// The grants that it covers: those in which a person signs in, where it names none.
    #[must_use]
    pub fn covered_grants(&self) -> &[Grant] {
        if self.grants.is_empty() {
            &[Grant::AuthorizationCode, Grant::DeviceCode]
        } else {
            &self.grants
        }
    }

    fn covers_grant(&self, grant: Grant) -> bool {
        self.covered_grants().contains(&grant)
    }

    fn covers_name(&self, name: &str, grant: Grant) -> bool {
        self.mailboxes.iter().any(|pattern| match pattern.strip_prefix("*@") {
            Some(domain) => {
                let of_domain = name
                    .rsplit_once('@')
                    .is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain));
                grant.needs_sign_in() && of_domain && is_email(name)
            }
            None => pattern.eq_ignore_ascii_case(name) && !pattern.contains('*'),
        })
    }
}

#[cfg(test)]
mod tests;
