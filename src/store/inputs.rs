//! Reading what people put into Secrets: the OAuth client and the seed.
//!
//! Values are trimmed of white space and line ends, since people write `echo token | base64`. Messages name the Secret, the key, what was found and what to do,
//! never a value.

mod keys;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    index::Key,
    secrets::{Contents, Unusable},
};
use crate::{
    api::{ClientAuthentication, Grant, OAuth2},
    lifecycle::Fingerprint,
    oauth::{ServiceAccount, SigningKey},
};

const CLIENT_ID: &str = "client_id";
const CLIENT_SECRET: &str = "client_secret";
/// The file that Google's console offers for download, as a key of the Secret. `kubectl create secret --from-file` keeps the whole name of the file, which has the
/// client ID in it: `client_secret_1234.apps.googleusercontent.com.json`.
const GOOGLE_FILE: &str = "client_secret.json";
/// More redirect URIs are not read.
const MOST_REDIRECTS: usize = 100;

/// An OAuth client as its Secret holds it.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its ID, if the Secret has one.
    pub id: Option<String>,
    /// Its secret, unless it is a public client.
    pub secret: Option<SecretString>,
    /// The key with which it signs, if it has one.
    pub key: Option<SigningKey>,
    /// The service account that it is instead, if the Secret holds its key file.
    pub service_account: Option<ServiceAccount>,
    /// How it is registered, where the Secret holds Google's file.
    pub registration: Option<Registration>,
}

/// How a client is registered, as Google's file says. It is as old as the download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// What kind of application it is.
    pub kind: ApplicationKind,
    /// Where Google sends people back to. At most 100.
    pub redirect_uris: Vec<String>,
}

/// What kind of application a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationKind {
    /// "Web application": its redirect URIs are those on the list, to the letter.
    Web,
    /// "Desktop app": its redirect URI is the person's own machine, with any port and path (developers.google.com: OAuth 2.0 for desktop apps).
    Installed,
}

impl Registration {
    /// Reads the file that Google's console offers for download: the client's ID and secret, and how it is registered. None: it is not that file.
    #[must_use]
    pub fn read(file: &SecretString) -> Option<Client> {
        // The error of the parser could quote the file: it is dropped.
        let file: GoogleFile = serde_json::from_str(file.expose_secret()).ok()?;
        let (kind, client) = match (file.web, file.installed) {
            (Some(web), _) => (ApplicationKind::Web, web),
            (None, installed) => (ApplicationKind::Installed, installed?),
        };
        let secret = client.client_secret.filter(|secret| !secret.is_empty());
        Some(Client {
            id: Some(client.client_id),
            secret: secret.map(SecretString::from),
            key: None,
            service_account: None,
            registration: Some(Registration {
                kind,
                redirect_uris: client.redirect_uris.into_iter().take(MOST_REDIRECTS).collect(),
            }),
        })
    }

    /// Whether Google would send a person back there. If not, the URI has to be put on the client's list, exactly as it is.
    #[must_use]
    pub fn takes(&self, redirect_uri: &str) -> bool {
        match self.kind {
            ApplicationKind::Web => self.redirect_uris.iter().any(|listed| listed == redirect_uri),
            ApplicationKind::Installed => url::Url::parse(redirect_uri).is_ok_and(|url| {
                url.scheme() == "http" && matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
            }),
        }
    }
}

/// What is wrong with an input, for people.
pub type Complaint = String;

/// The client in a Secret: keys `client_id` and `client_secret`, or `client_secret.json` (or one `client_secret_….json`) as Google's console downloads it; `tls.key` and
/// `tls.crt`; or the key file of a service account.
///
/// # Errors
/// A [`Complaint`] when a value is there and cannot be used, or when there is nothing at all.
pub fn client(key: &Key, contents: &Contents) -> Result<Client, Complaint> {
    if let Some(name) = google_file(key, contents)?
        && let Ok(file) = contents.text_file(name)
    {
        return google_client(key, name, &file);
    }
    let id = optional(key, contents, CLIENT_ID)?;
    let secret = optional(key, contents, CLIENT_SECRET)?;
    let signing = keys::signing_key(key, contents)?;
    let service_account = keys::service_account(key, contents)?;
    if id.is_none() && secret.is_none() && signing.is_none() && service_account.is_none() {
        return Err(format!(
            "Secret {key} holds no OAuth client: expected the keys {CLIENT_ID} and {CLIENT_SECRET} (or {GOOGLE_FILE}), {} and {}, or a service account's key file, found {}.",
            keys::KEY,
            keys::CERTIFICATE,
            listed(contents)
        ));
    }
    Ok(Client {
        id: id.map(|id| id.expose_secret().to_owned()),
        secret,
        key: signing,
        service_account,
        registration: None,
    })
}

/// The ID under which a client asks for tokens as the spec wants it: its own, or its service account's address.
///
/// # Errors
/// A [`Complaint`] when the client has not what the spec's grant and client authentication need.
pub fn client_id(key: &Key, client: &Client, oauth2: &OAuth2) -> Result<String, Complaint> {
    if oauth2.grant == Grant::JwtBearer {
        let account = client.service_account.as_ref().map(|account| account.email.clone());
        return account.ok_or_else(|| {
            format!(
                "Secret {key} holds an OAuth client, and spec.oauth2.grant JWTBearer needs a service account: expected its key file, JSON of type service_account, exactly as \
                 Google's console downloads it (IAM & Admin, Service Accounts, Keys)."
            )
        });
    }
    let Some(id) = oauth2.client_id.as_ref().or(client.id.as_ref()) else {
        return Err(if client.service_account.is_some() {
            format!(
                "Secret {key} holds the key of a service account, which spec.oauth2.grant JWTBearer uses; grant {} needs an OAuth client: expected the keys {CLIENT_ID} and \
                 {CLIENT_SECRET}.",
                oauth2.grant.as_str()
            )
        } else {
            format!(
                "Secret {key} has no key {CLIENT_ID}, and spec.oauth2.clientID is not set: expected the OAuth client's ID in one of the two."
            )
        });
    };
    let lacks = match oauth2.client_authentication {
        Some(ClientAuthentication::PrivateKeyJwt) if client.key.is_none() => Some(format!(
            "spec.oauth2.clientAuthentication is PrivateKeyJWT, and Secret {key} has no key {}: expected the client's private key there, in PEM, and its certificate in {}.",
            keys::KEY,
            keys::CERTIFICATE
        )),
        Some(ClientAuthentication::FederatedToken | ClientAuthentication::PrivateKeyJwt) => None,
        Some(_) | None
            if oauth2.grant == Grant::ClientCredentials
                && client.secret.is_none()
                && (client.key.is_none() || oauth2.client_authentication.is_some()) =>
        {
            Some(format!(
                "Secret {key} has nothing with which the client could prove itself: grant ClientCredentials expects the key {CLIENT_SECRET} in it, or {} and {}.",
                keys::KEY,
                keys::CERTIFICATE
            ))
        }
        _ => None,
    };
    lacks.map_or_else(|| Ok(id.clone()), Err)
}

/// The seed in a Secret.
///
/// # Errors
/// A [`Complaint`] when there is none.
pub fn seed(key: &Key, contents: &Contents, data_key: &str) -> Result<SecretString, Complaint> {
    contents.text(data_key).map_err(|problem| match problem {
        Unusable::Absent => format!(
            "Secret {key} has no key {data_key}: expected a refresh token there, found {}.",
            listed(contents)
        ),
        Unusable::Empty => format!("Key {data_key} of Secret {key} is empty: expected a refresh token."),
        Unusable::NotText => {
            format!(
                "Key {data_key} of Secret {key} is not one line of text: expected a refresh token and nothing else."
            )
        }
    })
}

/// The message for an input Secret that is not there.
#[must_use]
pub fn missing(key: &Key, purpose: &str, create: &str) -> Complaint {
    let (namespace, name) = (&key.namespace, &key.name);
    format!(
        "Secret {key} ({purpose}) does not exist. Create it: kubectl create secret generic -n {namespace} {name} {create}"
    )
}

/// A digest that tells two refresh tokens apart and gives neither away: refresh tokens are long and random, so it cannot be guessed back.
#[must_use]
pub fn fingerprint(refresh_token: &SecretString) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update("emailasset.dev seed\0");
    hash.update(refresh_token.expose_secret());
    Fingerprint(format!("{:x}", hash.finalize()).chars().take(32).collect())
}

fn optional(key: &Key, contents: &Contents, data_key: &str) -> Result<Option<SecretString>, Complaint> {
    match contents.text(data_key) {
        Ok(text) => Ok(Some(text)),
        Err(Unusable::Absent) => Ok(None),
        Err(Unusable::Empty) => Err(format!(
            "Key {data_key} of Secret {key} is empty: expected the OAuth client's value, or no such key."
        )),
        Err(Unusable::NotText) => Err(format!("Key {data_key} of Secret {key} is not one line of text.")),
    }
}

#[derive(Deserialize)]
struct GoogleFile {
    web: Option<GoogleClient>,
    installed: Option<GoogleClient>,
}

#[derive(Deserialize)]
struct GoogleClient {
    client_id: String,
    client_secret: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
}

/// The key that holds Google's file, under the plain name or the one that it was downloaded with.
fn google_file<'a>(key: &Key, contents: &'a Contents) -> Result<Option<&'a str>, Complaint> {
    let keys = contents.keys();
    let downloaded = |name: &&str| name.starts_with("client_secret_") && name.to_ascii_lowercase().ends_with(".json");
    let plain = keys.iter().copied().find(|name| *name == GOOGLE_FILE);
    let mut found = keys.iter().copied().filter(downloaded);
    match (plain, found.next(), found.next()) {
        (Some(name), ..) | (None, Some(name), None) => Ok(Some(name)),
        (None, None, _) => Ok(None),
        (None, Some(_), Some(_)) => Err(format!(
            "Secret {key} holds several files of Google's console: expected one, found {}.",
            listed(contents)
        )),
    }
}

fn google_client(key: &Key, name: &str, file: &SecretString) -> Result<Client, Complaint> {
    Registration::read(file).ok_or_else(|| {
        format!(
            "Key {name} of Secret {key} is not the file that Google's console downloads: expected JSON with \"web\" or \"installed\" and client_id in it."
        )
    })
}

fn listed(contents: &Contents) -> String {
    let keys = contents.keys();
    if keys.is_empty() {
        "no key".to_owned()
    } else {
        format!("the keys {}", keys.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::index::{Kind, Seen};

    fn registration(file: &str) -> Registration {
        let client = Registration::read(&SecretString::from(file)).unwrap();
        client.registration.unwrap()
    }

    const WEB: &str = r#"{"web":{"client_id":"1234.apps.googleusercontent.com","project_id":"p","auth_uri":"https://accounts.google.com/o/oauth2/auth",
        "client_secret":"GOCSPX-x","redirect_uris":["https://mail.example.com/callback/google"],"javascript_origins":["https://mail.example.com"]}}"#;

    #[test]
    fn a_web_client_takes_the_listed_addresses_to_the_letter() {
        let web = registration(WEB);
        assert_eq!(web.kind, ApplicationKind::Web);
        assert_eq!(web.redirect_uris, ["https://mail.example.com/callback/google"]);
        assert!(web.takes("https://mail.example.com/callback/google"));
        for other in [
            "https://mail.example.com/callback/google/",
            "https://mail.example.com:443/callback/google",
            "https://mail.example.com/callback/microsoft",
            "http://127.0.0.1:4000/",
        ] {
            assert!(!web.takes(other), "{other}");
        }
        let none_yet = registration(r#"{"web":{"client_id":"1","client_secret":"x"}}"#);
        assert!(none_yet.redirect_uris.is_empty() && !none_yet.takes("https://mail.example.com/callback/google"));
    }

    #[test]
    fn a_desktop_client_takes_the_persons_own_machine_and_nothing_else() {
        let installed = registration(
            r#"{"installed":{"client_id":"1234.apps","client_secret":"GOCSPX-x","redirect_uris":["http://localhost"]}}"#,
        );
        assert_eq!(installed.kind, ApplicationKind::Installed);
        for own in ["http://localhost:51234/", "http://127.0.0.1:8080/cb", "http://[::1]:1/"] {
            assert!(installed.takes(own), "{own}");
        }
        for other in [
            "https://mail.example.com/callback/google",
            "http://localhost.evil.example/",
            "http://example.com/",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert!(!installed.takes(other), "{other}");
        }
    }

    fn contents(data: &[(&str, &[u8])]) -> Contents {
        let meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            uid: Some("u".to_owned()),
            resource_version: Some("1".to_owned()),
            ..Default::default()
        };
        Contents::for_tests(Seen::new(Kind::Other, meta), data)
    }

    #[test]
    fn the_file_is_found_under_the_name_it_was_downloaded_with() {
        let key = Key::new("helpdesk", "google");
        let downloaded = "client_secret_1234.apps.googleusercontent.com.json";
        let found = client(&key, &contents(&[(downloaded, WEB.as_bytes())])).unwrap();
        assert_eq!(found.id.as_deref(), Some("1234.apps.googleusercontent.com"));
        assert_eq!(found.secret.unwrap().expose_secret(), "GOCSPX-x");

        let bad = client(&key, &contents(&[(downloaded, b"{}")])).unwrap_err();
        assert!(
            bad.starts_with("Key client_secret_1234.apps.googleusercontent.com.json of Secret helpdesk/google is not"),
            "{bad}"
        );
        let two = [(downloaded, WEB.as_bytes()), ("client_secret_5.json", WEB.as_bytes())];
        let bad = client(&key, &contents(&two)).unwrap_err();
        assert!(
            bad.contains("holds several files of Google's console: expected one, found the keys client_secret_1234"),
            "{bad}"
        );
    }
}
