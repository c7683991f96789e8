//! `token`: the access token of an asset on standard output, and nothing else there.

use secrecy::{ExposeSecret, SecretString};

use super::arguments::{Protocol, TokenArguments, TokenFormat};
use super::cluster::Cluster;
use super::exit::{Exit, Problem};
use super::published::{Contents, published};
use super::terminal::{Screen, print, tell};
use super::words::distance;
use crate::sasl::{self, Server};

/// Prints it.
pub(super) async fn run(cluster: &Cluster, arguments: &TokenArguments) -> Result<Exit, Problem> {
    let published = published(cluster, &arguments.name).await?;
    let response = rendered(&published.contents, arguments.format, arguments.protocol)
        .map_err(|problem| Problem::new(Exit::Found, format!("Secret {} {problem}", published.secret)))?;
    if Screen::of_output().is_terminal() {
        let now = jiff::Timestamp::now();
        let until = published
            .expires
            .map(|expires| format!(" until {expires} ({})", distance(expires, now)))
            .unwrap_or_default();
        tell(&format!(
            "Whoever has this token can read and send mail as {}{until}. It is on your screen now.",
            published.asset.spec.email
        ));
    }
    print(&format!("{}\n", response.expose_secret()));
    Ok(Exit::Fine)
}

fn rendered(contents: &Contents, format: TokenFormat, protocol: Option<Protocol>) -> Result<SecretString, String> {
    let token = contents.token()?;
    let server = |protocol: Protocol| {
        let known = contents.server(protocol)?;
        Some(Server {
            host: known.host,
            port: known.port,
        })
    };
    let protocol = match (format, protocol) {
        (TokenFormat::Token, _) => return Ok(token),
        (_, Some(chosen)) if server(chosen).is_none() => {
            return Err(format!(
                "knows no {0} server: set spec.{0} of the asset, or choose another --protocol.",
                chosen.key()
            ));
        }
        (_, Some(chosen)) => Some(chosen),
        (_, None) => Protocol::ALL.into_iter().find(|protocol| server(*protocol).is_some()),
    };
    let user = contents.username(protocol)?;
    let response = match format {
        TokenFormat::Token => None,
        TokenFormat::Xoauth2 => sasl::xoauth2(user, &token),
        TokenFormat::Oauthbearer => sasl::oauthbearer(user, protocol.and_then(server).as_ref(), &token),
    };
    response.ok_or_else(|| "has a login name or token with a control character, which no mail server takes.".to_owned())
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;
    use crate::plugin::published::contents;

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
        let response = rendered(contents, format, protocol).unwrap();
        String::from_utf8(STANDARD.decode(response.expose_secret()).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_printed_as_it_is_or_as_a_login() {
        let token = rendered(&whole(), TokenFormat::Token, None).unwrap();
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
        let problem = rendered(&whole(), TokenFormat::Oauthbearer, Some(Protocol::Pop3)).unwrap_err();
        assert!(problem.contains("spec.pop3"), "{problem}");
    }

    #[test]
    fn an_unfinished_secret_is_said() {
        assert!(rendered(&contents(&[]), TokenFormat::Token, None).is_err());
        let problem = rendered(&contents(&[("access_token", "T")]), TokenFormat::Xoauth2, None).unwrap_err();
        assert!(problem.contains("username"), "{problem}");
    }
}
