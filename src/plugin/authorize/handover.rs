//! Handing what the provider answered to the operator: a short-lived Secret, which the operator redeems and deletes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use secrecy::{ExposeSecret, SecretString};

use super::callback::Consented;
use super::request;
use crate::api::names::{self, response_keys};
use crate::plugin::cluster::{Cluster, SECRETS};
use crate::plugin::exit::{Exit, Problem};

/// A Secret that was handed over.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) name: String,
    uid: Option<String>,
}

/// What the Secret is about.
pub(super) struct Handover<'a> {
    /// The asset's name.
    pub(super) asset: &'a str,
    /// Its UID: an asset that was made anew meanwhile gets nothing.
    pub(super) uid: &'a str,
    /// The redirect URI of the request.
    pub(super) redirect_uri: &'a str,
    /// The secrets of the request.
    pub(super) secrets: &'a request::Secrets,
    /// When the grant was given that was there before the person was sent to the provider: the operator lets a newer one stand.
    pub(super) granted: Option<Timestamp>,
}

impl Handover<'_> {
    /// Creates it.
    pub(super) async fn give(&self, cluster: &Cluster, consented: &Consented) -> Result<Handed, Problem> {
        let secret = self.secret(consented);
        let api = cluster.secrets();
        let parameters = PostParams::default();
        let made = cluster
            .call(cluster.right("create", SECRETS, None), api.create(&parameters, &secret))
            .await?;
        let name = made
            .metadata
            .name
            .ok_or_else(|| Problem::new(Exit::Cluster, "The API server made a Secret without a name."))?;
        Ok(Handed {
            name,
            uid: made.metadata.uid,
        })
    }

    fn secret(&self, consented: &Consented) -> Secret {
        let mut data = BTreeMap::from([
            (response_keys::ASSET_UID, self.uid.to_owned()),
            (response_keys::CODE, plain(&consented.code)),
            (response_keys::CODE_VERIFIER, plain(&self.secrets.verifier)),
            (response_keys::REDIRECT_URI, self.redirect_uri.to_owned()),
            (response_keys::NONCE, self.secrets.nonce.clone()),
        ]);
        if let Some(issuer) = &consented.issuer {
            data.insert(response_keys::ISSUER, issuer.clone());
        }
        if let Some(granted) = self.granted {
            data.insert(response_keys::GRANT_TIME, granted.to_string());
        }
        Secret {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-response-", self.asset)),
                annotations: Some(BTreeMap::from([(
                    names::RESPONSE_FOR.to_owned(),
                    self.asset.to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some(names::RESPONSE_SECRET_TYPE.to_owned()),
            string_data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            immutable: Some(true),
            ..Secret::default()
        }
    }
}

fn plain(secret: &SecretString) -> String {
    secret.expose_secret().to_owned()
}

impl Handed {
    /// Whether the operator has not taken it yet.
    pub(super) async fn is_there(&self, cluster: &Cluster) -> Result<bool, Problem> {
        let api = cluster.secrets();
        let right = cluster.right("get", SECRETS, Some(&self.name));
        let found = cluster.call(right, api.get_metadata_opt(&self.name)).await?;
        Ok(found.is_some_and(|found| found.metadata.uid == self.uid))
    }

    /// Takes it back, if it is still there.
    pub(super) async fn take_back(&self, cluster: &Cluster) -> Result<(), Problem> {
        let same = Preconditions {
            uid: self.uid.clone(),
            resource_version: None,
        };
        let parameters = DeleteParams {
            preconditions: Some(same),
            ..DeleteParams::default()
        };
        let api = cluster.secrets();
        let right = cluster.right("delete", SECRETS, Some(&self.name));
        let deleting = async {
            match api.delete(&self.name, &parameters).await {
                Ok(_) => Ok(()),
                // Gone, or another of that name.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
                Err(error) => Err(error),
            }
        };
        cluster.call(right, deleting).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_what_the_operator_looks_for() {
        let secrets = request::Secrets::make().unwrap();
        let handover = Handover {
            asset: "support",
            uid: "uid-1",
            redirect_uri: "http://127.0.0.1:4711",
            secrets: &secrets,
            granted: Some("2026-11-25T10:00:00Z".parse().unwrap()),
        };
        let consented = Consented {
            code: "abc".into(),
            issuer: Some("https://id.example".to_owned()),
        };
        let secret = handover.secret(&consented);
        assert_eq!(secret.type_.as_deref(), Some("emailasset.dev/authorization-response"));
        assert_eq!(secret.metadata.generate_name.as_deref(), Some("support-response-"));
        assert_eq!(secret.metadata.annotations.unwrap()["emailasset.dev/for"], "support");
        let data = secret.string_data.unwrap();
        assert_eq!(
            (data["asset_uid"].as_str(), data["code"].as_str(), data["iss"].as_str()),
            ("uid-1", "abc", "https://id.example")
        );
        assert_eq!(data["code_verifier"].len(), 43);
        assert_eq!(data["redirect_uri"], "http://127.0.0.1:4711");
        assert_eq!(data["nonce"], secrets.nonce);
        assert_eq!(data["grant_time"], "2026-11-25T10:00:00Z");

        let first = Handover {
            granted: None,
            ..handover
        };
        assert!(!first.secret(&consented).string_data.unwrap().contains_key("grant_time"));
    }
}
