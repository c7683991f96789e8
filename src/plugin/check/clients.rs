//! The OAuth client of an asset: whether it lists the redirect URI of a sign-in, and whether it has a secret where it may have none.
//!
//! Google's console downloads a client as JSON: `web` with the redirect URIs that it accepts, or `installed` for a desktop app, which accepts loopback alone.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use url::Url;

use crate::api::{ClientAuthentication, EmailAsset, Grant};
use crate::provider::Endpoints;

/// The key under which a Secret holds the file.
const FILE: &str = "client_secret.json";

/// A client file that was found among what is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientFile {
    /// The Secret it is in; none: it is a file by itself.
    secret: Option<NameOfSecret>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Web(Vec<String>),
    Desktop,
}

/// The client file in a document, if it has one.
pub(super) fn client_file(document: &Value) -> Option<ClientFile> {
    if let Some(kind) = kind(document) {
        return Some(ClientFile { secret: None, kind });
    }
    let secret = Some(name_of_secret(document)?);
    let in_clear = document
        .pointer("/stringData/client_secret.json")
        .and_then(Value::as_str);
    let encoded = document.get("data").and_then(|data| data.get(FILE)?.as_str());
    let text = match in_clear {
        Some(text) => text.to_owned(),
        None => String::from_utf8(STANDARD.decode(encoded?.split_whitespace().collect::<String>()).ok()?).ok()?,
    };
    Some(ClientFile {
        secret,
        kind: kind(&serde_json::from_str(&text).ok()?)?,
    })
}

/// A Secret among what is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientSecret {
    name: NameOfSecret,
    client: Client,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    WithSecret,
    WithoutSecret,
}

/// The Secret that a document is, by what it says of a client.
pub(super) fn client_secret(document: &Value) -> Option<ClientSecret> {
    let has = |key: &str| {
        let parts = ["data", "stringData"].map(|part| document.get(part));
        parts.into_iter().flatten().any(|part| part.get(key).is_some())
    };
    Some(ClientSecret {
        name: name_of_secret(document)?,
        client: if has("client_secret") || has(FILE) {
            Client::WithSecret
        } else {
            Client::WithoutSecret
        },
    })
}

/// Its namespace, where that is written, and its name.
type NameOfSecret = (Option<String>, String);

fn name_of_secret(document: &Value) -> Option<NameOfSecret> {
    if document.get("kind")?.as_str()? != "Secret" {
        return None;
    }
    let metadata = document.get("metadata")?;
    let field = |name: &str| Some(metadata.get(name)?.as_str()?.to_owned());
    Some((field("namespace"), field("name")?))
}

fn kind(file: &Value) -> Option<Kind> {
    if let Some(web) = file.get("web") {
        let uris = web.get("redirect_uris").and_then(Value::as_array);
        let uris = uris
            .into_iter()
            .flatten()
            .filter_map(|uri| Some(uri.as_str()?.to_owned()));
        return Some(Kind::Web(uris.collect()));
    }
    file.get("installed").map(|_| Kind::Desktop)
}

/// The redirect URI that the sign-in pages use for an asset, if it has one.
pub(super) fn redirect_uri(asset: &EmailAsset, endpoints: &Endpoints, public_url: &Url) -> Option<String> {
    if asset.spec.oauth2.grant != Grant::AuthorizationCode {
        return None;
    }
    let key = &endpoints.sign_in.callback_key;
    let key = if key.is_empty() {
        endpoints.provider.as_ref()?
    } else {
        key
    };
    Some(format!("{}/callback/{key}", public_url.as_str().trim_end_matches('/')))
}

/// What a person should know about the client of an asset: the redirect URI is not registered.
pub(super) fn advice(asset: &EmailAsset, redirect_uri: &str, files: &[ClientFile]) -> Option<String> {
    let file = files.iter().find(|file| belongs(file, asset))?;
    match &file.kind {
        Kind::Web(uris) if uris.iter().any(|uri| uri == redirect_uri) => None,
        Kind::Web(uris) => {
            let listed = if uris.is_empty() {
                "none".to_owned()
            } else {
                uris.join(", ")
            };
            Some(format!(
                "the OAuth client does not list the redirect URI of the sign-in page, so Google will refuse sign-ins there. Add exactly this one in Google's console (Google Auth \
                 Platform, Clients, the client, Authorized redirect URIs), and download the file again:\n  {redirect_uri}\nIt lists: {listed}"
            ))
        }
        Kind::Desktop => Some(format!(
            "the OAuth client is one for desktop apps, which takes no redirect URI: `kubectl emailasset authorize` works with it, the sign-in page does not. For the page make a \
             client of type Web application with this redirect URI:\n  {redirect_uri}"
        )),
    }
}

/// What a person should know about a sign-in with a code: the provider gives none to a client that has a secret.
pub(super) fn advice_on_device_code(
    asset: &EmailAsset,
    endpoints: &Endpoints,
    secrets: &[ClientSecret],
) -> Option<String> {
    let otherwise = endpoints.sign_in.device_code_without_secret.as_ref()?;
    let oauth2 = &asset.spec.oauth2;
    let named = &oauth2.client_credentials_ref.as_ref()?.name;
    if oauth2.client_authentication == Some(ClientAuthentication::None) {
        return None;
    }
    let found = secrets.iter().find(|secret| is_named(&secret.name, asset, named));
    let holds = match found.map(|secret| secret.client) {
        Some(Client::WithoutSecret) => return None,
        Some(Client::WithSecret) => "holds one",
        None => "may hold one",
    };
    Some(format!(
        "a sign-in with a code at {} needs an OAuth client without a secret, and Secret {named} {holds}. With a secret {otherwise}. Name the client by spec.oauth2.clientID instead \
         of clientCredentialsRef and allow public client flows for it, or take grant AuthorizationCode",
        endpoints.display_name
    ))
}

fn belongs(file: &ClientFile, asset: &EmailAsset) -> bool {
    let Some(client) = &asset.spec.oauth2.client_credentials_ref else {
        return false;
    };
    match &file.secret {
        // A file by itself: it is Google's, so it can be the client of Google's assets only.
        None => asset.spec.provider.as_deref() == Some("google"),
        Some(secret) => is_named(secret, asset, &client.name),
    }
}

/// Whether an asset that names a Secret means this one.
fn is_named((namespace, name): &NameOfSecret, asset: &EmailAsset, named: &str) -> bool {
    let same = namespace.is_none() || asset.metadata.namespace.is_none() || *namespace == asset.metadata.namespace;
    same && name == named
}
