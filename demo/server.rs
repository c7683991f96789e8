//! The authorization server's admin door: what the demo does as the provider and as the owner of the mailbox.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::workshop::Workshop;

/// Where an authorization server is, and how to talk to it.
#[derive(Debug)]
pub(crate) struct Server {
    /// The token endpoint.
    pub(crate) token_url: String,
    /// Host and port, as the annotation `emailasset.dev/hosts` wants them.
    pub(crate) host: String,
    admin_url: String,
    http: reqwest::Client,
}

/// A refresh token, as if the mailbox's owner had signed in.
pub(crate) struct SignIn {
    /// The refresh token.
    pub(crate) refresh_token: String,
    /// The grant's ID at the server.
    pub(crate) grant: String,
}

impl Server {
    /// From the line that the server prints when it has started.
    pub(crate) fn from_hello(hello: &Value, http: reqwest::Client) -> Result<Self> {
        let text = |name: &str| {
            hello[name]
                .as_str()
                .map(str::to_owned)
                .context("the server's first line")
        };
        let url = text("url")?;
        Ok(Self {
            token_url: text("tokenUrl")?,
            host: url.trim_start_matches("https://").to_owned(),
            admin_url: text("adminUrl")?,
            http,
        })
    }

    /// Where the admin door is.
    pub(crate) fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// From now on access tokens live so many seconds.
    pub(crate) async fn set_lifetime(&self, seconds: u32) -> Result<()> {
        self.post("settings", &json!({"accessTokenLifetime": seconds})).await?;
        Ok(())
    }

    /// Registers a client; its secret.
    pub(crate) async fn register(&self, client: &str) -> Result<String> {
        let made = self.post("clients", &json!({"clientId": client})).await?;
        Ok(made["clientSecret"].as_str().unwrap_or_default().to_owned())
    }

    /// Lets the owner of a mailbox sign in.
    pub(crate) async fn sign_in(&self, client: &str, account: &str) -> Result<SignIn> {
        let made = self
            .post("refresh-tokens", &json!({"clientId": client, "account": account}))
            .await?;
        let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
        Ok(SignIn {
            refresh_token: text("refreshToken"),
            grant: text("grantId"),
        })
    }

    /// Whether an access token opens a mailbox now.
    pub(crate) async fn is_good(&self, token: &str, account: &str) -> Result<bool> {
        let said = self.post("introspect", &json!({"token": token})).await?;
        Ok(said["active"] == json!(true) && said["account"] == json!(account))
    }

    /// Ends a grant, as the mailbox's owner can in the account's settings.
    pub(crate) async fn revoke(&self, grant: &str) -> Result<()> {
        self.post("grants/revoke", &json!({"grantId": grant})).await?;
        Ok(())
    }

    /// What the server counted of a grant.
    pub(crate) async fn counters(&self, grant: &str) -> Result<Value> {
        self.post("grants/get", &json!({"grantId": grant})).await
    }

    /// Holds the next answer back, after the server has rotated; the fault's ID.
    pub(crate) async fn hold_next_answer(&self) -> Result<Value> {
        let fault = json!({"times": 1, "step": "after", "action": "continue", "hang": true});
        Ok(self.post("faults", &fault).await?["id"].take())
    }

    /// Waits until an answer is held back.
    pub(crate) async fn wait_until_held(&self, fault: &Value) -> Result<()> {
        let wish = json!({"id": fault, "count": 1, "timeout": 60_000});
        if self.post("wait/held", &wish).await?["reached"] != json!(true) {
            bail!("the operator did not refresh within a minute");
        }
        Ok(())
    }

    /// Lets the held answer go.
    pub(crate) async fn release(&self, fault: &Value) -> Result<()> {
        self.post("faults/remove", &json!({"id": fault})).await?;
        Ok(())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}/{path}", self.admin_url);
        let answer = self.http.post(url).body(body.to_string()).send();
        let answer = answer.await.context("the authorization server does not answer")?;
        if !answer.status().is_success() {
            bail!("the authorization server's admin door answered {}", answer.status());
        }
        serde_json::from_str(&answer.text().await?).context("the authorization server's admin door")
    }
}

/// A certificate authority for this run alone, and a certificate for the server.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    /// The authority's certificate: what the operator trusts.
    pub(crate) authority: PathBuf,
    /// The server's certificate.
    pub(crate) certificate: PathBuf,
    /// The server's key.
    pub(crate) key: PathBuf,
}

impl Certificates {
    /// Makes them.
    pub(crate) fn make(workshop: &Workshop) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "authority of a demo");
        let authority_key = KeyPair::generate()?;
        let authority_pem = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);
        let mut server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate()?;
        let server_pem = server.signed_by(&server_key, &issuer)?.pem();
        Ok(Self {
            authority: workshop.write("ca.crt", &authority_pem)?,
            certificate: workshop.write("server.crt", &server_pem)?,
            key: workshop.write("server.key", &server_key.serialize_pem())?,
        })
    }
}
