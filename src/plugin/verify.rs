//! `verify`: logs in to the mail servers of an asset with its token, from the person's own machine, and shows the conversation without its secrets, for the person
//! and for whoever runs the mail server.
//!
//! The servers stand in the token Secret, and whoever may change the asset has chosen them. So the token goes only to those that the catalogue knows for the asset's
//! provider, and to those that the person has named (invariant 11).

use std::path::Path;

use super::arguments::{Protocol, VerifyArguments};
use super::cluster::Cluster;
use super::exit::{Exit, Problem};
use super::published::{Contents, KnownServer, Published, published};
use super::terminal::{Screen, print};
use crate::api::EmailAssetSpec;
use crate::mail::{self, Credential, Login, MailClient, MailServer, MailSettings, QuotedPorts, Standing};
use crate::outbound::{CaBundle, PrivateAddresses};
use crate::provider::{self, Catalogue};

/// Larger files are no bundle of certificates.
const LARGEST_BUNDLE: u64 = 1 << 20;

/// Logs in.
pub(super) async fn run(cluster: &Cluster, arguments: &VerifyArguments) -> Result<Exit, Problem> {
    let settings = MailSettings {
        private_addresses: if arguments.allow_private_addresses {
            PrivateAddresses::Allow
        } else {
            PrivateAddresses::Refuse
        },
        // Nobody reads another service through a person who has named it.
        quoted_ports: QuotedPorts::All,
        ca_bundle: arguments.ca_bundle.as_deref().map(ca_bundle).transpose()?,
        ..MailSettings::default()
    };
    let client = MailClient::new(settings).map_err(|error| Problem::new(Exit::Found, format!("{error}.")))?;
    let published = published(cluster, &arguments.name).await?;
    let found = |problem: String| Problem::new(Exit::Found, format!("Secret {} {problem}", published.secret));
    let token = Credential::Token(published.contents.token().map_err(found)?);
    let servers = servers(&published.contents, arguments.protocol).map_err(found)?;
    check_hosts(&published, &servers, &arguments.allow_host)?;
    let screen = Screen::of_output();
    let mut exit = Exit::Fine;
    for (index, server) in servers.iter().enumerate() {
        let login = client.log_in(server, &token, None).await;
        if login.standing() != Standing::Accepted {
            exit = Exit::Found;
        }
        let gap = if index == 0 { "" } else { "\n" };
        print(&format!("{gap}{}", told(screen, server, &login)));
    }
    Ok(exit)
}

/// The servers to log in to, as the Secret names them.
fn servers(contents: &Contents, chosen: Option<Protocol>) -> Result<Vec<MailServer>, String> {
    let wanted = chosen.map_or_else(|| Protocol::ALL.to_vec(), |protocol| vec![protocol]);
    let mut servers = Vec::new();
    for protocol in wanted {
        let Some(KnownServer { host, port, security }) = contents.server(protocol) else {
            continue;
        };
        servers.push(MailServer {
            protocol: spoken(protocol),
            host,
            port,
            security,
            username: contents.username(Some(protocol))?.to_owned(),
        });
    }
    if servers.is_empty() {
        let which = chosen.map_or("mail", Protocol::key);
        let field = chosen.map_or("imap or spec.smtp", Protocol::key);
        return Err(format!("knows no {which} server: set spec.{field} of the asset."));
    }
    Ok(servers)
}

const fn spoken(protocol: Protocol) -> mail::Protocol {
    match protocol {
        Protocol::Imap => mail::Protocol::Imap,
        Protocol::Smtp => mail::Protocol::Smtp,
        Protocol::Pop3 => mail::Protocol::Pop3,
    }
}

/// Refuses a server that neither the catalogue nor the person knows, before anything is sent anywhere.
fn check_hosts(published: &Published, servers: &[MailServer], allowed: &[String]) -> Result<(), Problem> {
    let known = hosts_of_provider(&published.asset.spec);
    let is_known = |host: &str| {
        let mut all = known.iter().chain(allowed);
        all.any(|known| known.eq_ignore_ascii_case(host))
    };
    let Some(stranger) = servers.iter().find(|server| !is_known(&server.host)) else {
        return Ok(());
    };
    let (host, name) = (
        &stranger.host,
        published.asset.metadata.name.as_deref().unwrap_or_default(),
    );
    let namespace = published.asset.metadata.namespace.as_deref().unwrap_or_default();
    Err(Problem::new(
        Exit::Found,
        format!(
            "The asset names {host}, which is no mail server that the catalogue knows for its provider. Nothing was sent. Whoever may change the asset chose it, and would get the token. If it is yours: kubectl emailasset verify -n {namespace} {name} --allow-host {host}"
        ),
    ))
}

/// The mail servers of the asset's provider, as the catalogue has them and not as the spec may say.
fn hosts_of_provider(spec: &EmailAssetSpec) -> Vec<String> {
    let plain = EmailAssetSpec {
        smtp: None,
        imap: None,
        pop3: None,
        ..spec.clone()
    };
    let endpoints = Catalogue::built_in()
        .ok()
        .and_then(|catalogue| provider::resolve(&plain, catalogue).ok());
    let Some(endpoints) = endpoints else { return Vec::new() };
    let servers = [endpoints.imap, endpoints.smtp, endpoints.pop3];
    servers.into_iter().flatten().map(|server| server.host).collect()
}

fn told(screen: Screen, server: &MailServer, login: &Login) -> String {
    let protocol = server.protocol.as_str();
    let heading = format!("{protocol} {}:{} as {}", server.host, server.port, server.username);
    let outcome = match login.standing() {
        Standing::Accepted => screen.good("The mailbox is open."),
        Standing::Refused => screen.bad(&format!("Refused ({}).", login.meaning.as_str())),
        Standing::Unknown => screen.doubtful(&format!("Not known ({}).", login.meaning.as_str())),
    };
    // What that means is the last line of the transcript.
    format!("{}\n{}{outcome}\n", screen.strong(&heading), login.transcript)
}

fn ca_bundle(path: &Path) -> Result<CaBundle, Problem> {
    let cannot = |why: String| Problem::usage(format!("--ca-bundle: {} {why}.", path.display()));
    let length = std::fs::metadata(path).map_err(|error| cannot(format!("cannot be read: {error}")))?;
    if length.len() > LARGEST_BUNDLE {
        return Err(cannot(format!(
            "holds {} bytes; a CA bundle has at most {LARGEST_BUNDLE}",
            length.len()
        )));
    }
    let pem = std::fs::read(path).map_err(|error| cannot(format!("cannot be read: {error}")))?;
    CaBundle::from_pem(&pem).map_err(|error| cannot(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{EmailAsset, Security};
    use crate::plugin::published;

    fn contents() -> Contents {
        published::contents(&[
            ("access_token", "T"),
            ("username", "u@e.com"),
            ("imap_host", "imap.gmail.com"),
            ("imap_port", "993"),
            ("imap_security", "TLS"),
            ("smtp_host", "smtp.evil.example"),
            ("smtp_port", "587"),
            ("smtp_security", "StartTLS"),
            ("smtp_username", "other@e.com"),
        ])
    }

    fn of(spec: &Value) -> Published {
        let asset: EmailAsset = serde_json::from_value(json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset",
            "metadata": {"name": "sales", "namespace": "crm"}, "spec": spec,
        }))
        .unwrap();
        Published {
            asset,
            secret: "crm/sales-token".to_owned(),
            contents: contents(),
            expires: None,
        }
    }

    fn at_google() -> Published {
        of(&json!({
            "email": "sales@example.com", "provider": "google", "smtp": {"host": "smtp.evil.example"},
            "oauth2": {"grant": "AuthorizationCode", "clientCredentialsRef": {"name": "client"}},
        }))
    }

    #[test]
    fn all_servers_of_the_secret_are_asked_each_under_its_own_name() {
        let servers = servers(&contents(), None).unwrap();
        let [imap, smtp] = &servers[..] else {
            panic!("{servers:?}")
        };
        assert_eq!((imap.security, imap.username.as_str()), (Security::Tls, "u@e.com"));
        assert_eq!((smtp.port, smtp.security), (587, Security::StartTls));
        assert_eq!(smtp.username, "other@e.com");
    }

    #[test]
    fn a_server_that_is_not_there_is_said() {
        let problem = servers(&contents(), Some(Protocol::Pop3)).unwrap_err();
        assert_eq!(problem, "knows no pop3 server: set spec.pop3 of the asset.");
    }

    #[test]
    fn a_server_that_the_asset_alone_names_gets_no_token() {
        let published = at_google();
        let servers = servers(&published.contents, None).unwrap();
        let problem = check_hosts(&published, &servers, &[]).unwrap_err();
        let message = &problem.message;
        assert!(
            message.contains("smtp.evil.example") && message.contains("Nothing was sent"),
            "{message}"
        );
        assert!(
            message.ends_with("kubectl emailasset verify -n crm sales --allow-host smtp.evil.example"),
            "{message}"
        );
    }

    #[test]
    fn the_providers_servers_and_those_of_the_person_may_get_it() {
        let published = at_google();
        let imap = servers(&published.contents, Some(Protocol::Imap)).unwrap();
        assert_eq!(check_hosts(&published, &imap, &[]), Ok(()));
        let all = servers(&published.contents, None).unwrap();
        assert_eq!(check_hosts(&published, &all, &["SMTP.evil.example".to_owned()]), Ok(()));
    }

    #[test]
    fn a_spec_that_cannot_be_resolved_here_knows_no_server() {
        let published = of(&json!({
            "email": "sales@example.com", "providerRef": {"name": "corp"},
            "oauth2": {"grant": "AuthorizationCode"},
        }));
        let imap = servers(&published.contents, Some(Protocol::Imap)).unwrap();
        assert!(check_hosts(&published, &imap, &[]).is_err());
    }
}
