//! `token`: the access token of an asset on standard output, and nothing else there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};

use super::arguments::{Protocol, TokenArguments, TokenFormat};
use super::cluster::{Cluster, SECRETS};
use super::exit::{Exit, Problem};
use super::story::in_short;
use super::terminal::{Screen, print, tell};
use super::words::distance;
use crate::api::names;
use crate::sasl::{self, Server};
use crate::store::token::keys;

/// Prints it.
pub(super) async fn run(cluster: &Cluster, arguments: &TokenArguments) -> Result<Exit, Problem> {
    let asset = cluster.asset(&arguments.name).await?;
    let published = asset
        .status
        .as_ref()
        .and_then(|status| status.token.as_ref()?.secret_name.clone());
    let name = published.unwrap_or_else(|| asset.token_secret_name());
    let api = cluster.secrets();
    let found = cluster
        .call(cluster.right("get", SECRETS, Some(&name)), api.get_opt(&name))
        .await?;
    let why = || in_short(&asset, Timestamp::now());
    let Some(secret) = found else {
        return Err(Problem::new(
            Exit::Found,
            format!(
                "There is no token yet: Secret {}/{name} does not exist. {}",
                cluster.namespace,
                why()
            ),
        ));
    };
    if secret.type_.as_deref() != Some(names::TOKEN_SECRET_TYPE) {
        return Err(Problem::new(
            Exit::Found,
            format!(
                "Secret {}/{name} was not made by the operator (its type is {}), so nothing of it is printed. {}",
                cluster.namespace,
                secret.type_.as_deref().unwrap_or("not known"),
                why()
            ),
        ));
    }
    let contents = Contents(secret.data.unwrap_or_default());
    let now = Timestamp::now();
    let expires = contents
        .text(keys::EXPIRES_AT)
        .and_then(|text| text.parse::<Timestamp>().ok());
    if let Some(expires) = expires.filter(|expires| *expires <= now) {
        return Err(Problem::new(
            Exit::Found,
            format!(
                "The token in Secret {}/{name} ended {} ({expires}), so it is not printed. {}",
                cluster.namespace,
                distance(expires, now),
                why()
            ),
        ));
    }
    let response = contents
        .rendered(arguments.format, arguments.protocol)
        .map_err(|problem| Problem::new(Exit::Found, format!("Secret {}/{name} {problem}", cluster.namespace)))?;
    if Screen::of_output().is_terminal() {
        let until = expires
            .map(|expires| format!(" until {expires} ({})", distance(expires, now)))
            .unwrap_or_default();
        tell(&format!(
            "Whoever has this token can read and send mail as {}{until}. It is on your screen now.",
            asset.spec.email
        ));
    }
    print(&format!("{}\n", response.expose_secret()));
    Ok(Exit::Fine)
}

/// What a token Secret holds. It cannot be printed.
struct Contents(BTreeMap<String, ByteString>);

impl Contents {
    fn text(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(&self.0.get(key)?.0).ok().map(str::trim)
    }

    fn rendered(&self, format: TokenFormat, protocol: Option<Protocol>) -> Result<SecretString, String> {
        let token = self
            .text(keys::ACCESS_TOKEN)
            .filter(|token| !token.is_empty())
            .ok_or_else(|| format!("has no key {}.", keys::ACCESS_TOKEN))?;
        let token = SecretString::from(token);
        let protocol = match (format, protocol) {
            (TokenFormat::Token, _) => return Ok(token),
            (_, Some(chosen)) if self.server(chosen).is_none() => {
                return Err(format!(
                    "knows no {0} server: set spec.{0} of the asset, or choose another --protocol.",
                    key_of(chosen)
                ));
            }
            (_, Some(chosen)) => Some(chosen),
            (_, None) => [Protocol::Imap, Protocol::Smtp, Protocol::Pop3]
                .into_iter()
                .find(|protocol| self.server(*protocol).is_some()),
        };
        let own = protocol.and_then(|protocol| self.text(&format!("{}_username", key_of(protocol))));
        let user = own
            .or_else(|| self.text("username"))
            .ok_or_else(|| "has no key username, the login name at the mail servers.".to_owned())?;
        let response = match format {
            TokenFormat::Token => None,
            TokenFormat::Xoauth2 => sasl::xoauth2(user, &token),
            TokenFormat::Oauthbearer => {
                let server = protocol.and_then(|protocol| self.server(protocol));
                sasl::oauthbearer(user, server.as_ref(), &token)
            }
        };
        response
            .ok_or_else(|| "has a login name or token with a control character, which no mail server takes.".to_owned())
    }

    fn server(&self, protocol: Protocol) -> Option<Server> {
        let protocol = key_of(protocol);
        Some(Server {
            host: self.text(&format!("{protocol}_host"))?.to_owned(),
            port: self.text(&format!("{protocol}_port"))?.parse().ok()?,
        })
    }
}

const fn key_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "smtp",
        Protocol::Imap => "imap",
        Protocol::Pop3 => "pop3",
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    fn contents(data: &[(&str, &str)]) -> Contents {
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec()));
        Contents(data.iter().map(entry).collect())
    }

    fn whole() -> Contents {
        contents(&[
            ("access_token", "T"),
            ("username", "u@e.com"),
            ("imap_host", "imap.e.com"),
            ("imap_port", "993"),
            ("smtp_host", "smtp.e.com"),
            ("smtp_port", "465"),
            ("smtp_username", "smtp-u"),
        ])
    }

    fn decoded(contents: &Contents, format: TokenFormat, protocol: Option<Protocol>) -> String {
        let response = contents.rendered(format, protocol).unwrap();
        String::from_utf8(STANDARD.decode(response.expose_secret()).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_printed_as_it_is_or_as_a_login() {
        let token = whole().rendered(TokenFormat::Token, None).unwrap();
        assert_eq!(token.expose_secret(), "T");
        assert_eq!(
            decoded(&whole(), TokenFormat::Xoauth2, None),
            "user=u@e.com\u{1}auth=Bearer T\u{1}\u{1}"
        );
        assert_eq!(
            decoded(&whole(), TokenFormat::Oauthbearer, None),
            "n,a=u@e.com,\u{1}host=imap.e.com\u{1}port=993\u{1}auth=Bearer T\u{1}\u{1}"
        );
        assert_eq!(
            decoded(&whole(), TokenFormat::Oauthbearer, Some(Protocol::Smtp)),
            "n,a=smtp-u,\u{1}host=smtp.e.com\u{1}port=465\u{1}auth=Bearer T\u{1}\u{1}"
        );
    }

    #[test]
    fn a_server_that_the_secret_does_not_know_is_said() {
        let problem = whole()
            .rendered(TokenFormat::Oauthbearer, Some(Protocol::Pop3))
            .unwrap_err();
        assert!(problem.contains("spec.pop3"), "{problem}");
    }

    #[test]
    fn an_unfinished_secret_is_said() {
        assert!(contents(&[]).rendered(TokenFormat::Token, None).is_err());
        let problem = contents(&[("access_token", "T")])
            .rendered(TokenFormat::Xoauth2, None)
            .unwrap_err();
        assert!(problem.contains("username"), "{problem}");
    }
}
