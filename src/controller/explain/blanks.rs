//! What the blanks in `oauth/errors.yaml` are filled with: names, addresses and times of the asset, and the commands for the next step. None is a secret.

use jiff::Timestamp;

use super::Question;
use crate::{
    lifecycle::{self, Names},
    oauth::errors::{Template, Value},
    provider::Endpoints,
};

/// What the blanks of `oauth/errors.yaml` are filled with.
pub(super) struct Blanks<'a> {
    pub(super) names: &'a Names,
    pub(super) endpoints: &'a Endpoints,
    pub(super) client_id: &'a str,
    pub(super) granted: Option<Timestamp>,
    pub(super) used: Option<Timestamp>,
    pub(super) new_grant: String,
}

impl<'a> Blanks<'a> {
    pub(super) fn of(question: &Question<'a>) -> Self {
        Self {
            names: question.names,
            endpoints: question.endpoints,
            client_id: &question.redeem.binding.client_id,
            granted: question.past.granted,
            used: question.past.used,
            new_grant: lifecycle::new_grant(question.names),
        }
    }

    pub(super) fn fill(&self, template: &Template) -> String {
        template.fill(|value| self.value(value))
    }

    pub(super) fn value(&self, value: Value) -> String {
        let url = &self.endpoints.refresh_url;
        match value {
            Value::Provider => self.endpoints.display_name.clone(),
            Value::Email => self.names.email.clone(),
            Value::Client if self.names.client.is_empty() => "spec.oauth2.clientID".to_owned(),
            Value::Client => format!("Secret {}", self.names.client),
            Value::ClientId => self.client_id.to_owned(),
            Value::PutSecret => put_secret(self.names),
            Value::Scopes => listed(&self.endpoints.scopes),
            Value::Tenant => {
                let mut parts = url.path_segments().into_iter().flatten();
                parts.next().unwrap_or_default().to_owned()
            }
            Value::LoginHost => url.host_str().unwrap_or_default().to_owned(),
            Value::Endpoint => url.to_string(),
            Value::NewGrant => self.new_grant.clone(),
            Value::Granted => self
                .granted
                .map_or_else(|| "a week ago".to_owned(), |time| format!("on {}", day(time))),
            Value::Unused => self
                .used
                .map_or_else(|| "for too long".to_owned(), |time| format!("since {}", day(time))),
        }
    }
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn put_secret(names: &Names) -> String {
    match names.client.split_once('/') {
        Some((namespace, name)) => format!(
            "put it into Secret {}, key client_secret: kubectl patch secret -n {namespace} {name} --type merge -p '{{\"stringData\":{{\"client_secret\":\"…\"}}}}'",
            names.client
        ),
        None => "name the Secret that holds it in spec.oauth2.clientCredentialsRef".to_owned(),
    }
}

fn listed(scopes: &[String]) -> String {
    if scopes.is_empty() {
        "none were named".to_owned()
    } else {
        scopes.join(" ")
    }
}
