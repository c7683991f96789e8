//! From an account of a file to manifests: Secret with the seed, Secret with the client, `EmailAsset`.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use url::Url;

use super::account::{Account, Seed};
use crate::api::{self, AllowedKeys, EmailAsset, Rotation, names};
use crate::plugin::arguments::ImportArguments;
use crate::provider::{self, Authority, Catalogue, Entry, SendScope};

/// Manifests of one account, and what to say about them.
pub(super) struct Manifests {
    /// YAML, ready for `kubectl apply`.
    pub(super) yaml: String,
    /// What a person should know.
    pub(super) notes: Vec<String>,
    /// What the server does with the old refresh token.
    pub(super) rotation: Rotation,
}

/// The server that redeems the account's refresh token.
struct Server<'a> {
    /// Entry of the catalogue.
    key: Option<&'a str>,
    entry: Option<&'a Entry>,
    /// For a server outside of it.
    url: Option<Url>,
    tenant: Option<String>,
    /// The parameter that chooses among the entry's hosts, and its value.
    choice: Option<(String, String)>,
}

/// Makes them.
pub(super) fn manifests(
    account: Account,
    arguments: &ImportArguments,
    namespace: Option<&str>,
    catalogue: &Catalogue,
) -> Result<Manifests, String> {
    let email = arguments
        .email
        .clone()
        .or(account.email)
        .ok_or("The file does not say whose mailbox it is: give it with --email.")?;
    let name = arguments.name.clone().unwrap_or_else(|| name_of(&email));
    let server = server(
        account.token_url.as_deref(),
        arguments.provider.as_deref().or(account.provider.as_deref()),
        arguments.tenant.clone().or(account.tenant),
        catalogue,
    )?;
    let seed = seed(account.seed, arguments)?;
    let client = client(account.client_id, account.client_secret, arguments, &name)?;
    let hosts = server.url.as_ref().map(|url| Authority::of(url).to_string());
    let placed = |name: String| metadata(&name, namespace, hosts.as_deref());

    let mut documents = Vec::new();
    if let Some(token) = &seed {
        documents.push(secret(
            &placed(seed_name(&name)),
            &[("refresh_token", token.expose_secret())],
        ));
    }
    if let Client::Made { id, secret: held, name } = &client {
        documents.push(secret(
            &placed(name.clone()),
            &[("client_id", id), ("client_secret", held.expose_secret())],
        ));
    }
    let asset = asset(
        &Wanted {
            name: &name,
            email: &email,
            namespace,
            seeded: seed.is_some(),
            scopes: &account.scopes,
            authorization_url: account.authorization_url.as_deref(),
        },
        &server,
        &client,
    );
    let rotation = checked(&asset, catalogue)?;
    documents.push(asset);
    let yaml: Result<Vec<String>, _> = documents
        .iter()
        .map(|document| serde_saphyr::to_string(document).map(|text| text.trim_end().to_owned()))
        .collect();
    let yaml = yaml.map_err(|error| format!("The manifests cannot be written: {error}."))?;
    Ok(Manifests {
        yaml: format!("---\n{}\n", yaml.join("\n---\n")),
        notes: account.notes,
        rotation,
    })
}

fn seed(seed: Seed, arguments: &ImportArguments) -> Result<Option<SecretString>, String> {
    match seed {
        _ if arguments.sign_in => Ok(None),
        Seed::Token(token) => Ok(Some(token)),
        Seed::Encrypted(what_to_do) => Err(format!("The file cannot be used as it is: {what_to_do}.")),
        Seed::Missing => Err(
            "The file holds no refresh token. Let its tool sign in first, or run this again with --sign-in: then the manifests ask for a sign-in."
                .to_owned(),
        ),
    }
}

/// Where the asset finds its OAuth client.
enum Client {
    /// In a Secret that is made here.
    Made {
        id: String,
        secret: SecretString,
        name: String,
    },
    /// In a Secret that is there.
    There(String),
    /// It is public: its ID is all.
    Public(String),
}

fn client(
    id: Option<String>,
    secret: Option<SecretString>,
    arguments: &ImportArguments,
    asset: &str,
) -> Result<Client, String> {
    if let Some(name) = &arguments.client_secret_ref {
        return Ok(Client::There(name.clone()));
    }
    match (arguments.client_id.clone().or(id), secret) {
        (Some(id), Some(secret)) => Ok(Client::Made {
            id,
            secret,
            name: format!("{asset}-client"),
        }),
        (Some(id), None) => Ok(Client::Public(id)),
        (None, _) => Err(
            "The file does not hold the OAuth client, and a refresh token is good for its own client only. Put that client into a Secret with the keys client_id and \
             client_secret and name it with --client-secret-ref; for a client without a secret give its ID with --client-id."
                .to_owned(),
        ),
    }
}

fn server<'a>(
    token_url: Option<&str>,
    provider: Option<&str>,
    tenant: Option<String>,
    catalogue: &'a Catalogue,
) -> Result<Server<'a>, String> {
    let url = token_url
        .map(|url| Url::parse(url).map_err(|_| "The file's token endpoint is no URL.".to_owned()))
        .transpose()?;
    let of_url = url.as_ref().and_then(|url| of_url(url, provider, catalogue));
    let of_name = provider.and_then(|name| catalogue.entries().find(|(key, _)| *key == name));
    match (of_url.or(of_name.filter(|_| url.is_none())), url) {
        (Some((key, entry)), url) => Ok(Server {
            key: Some(key),
            entry: Some(entry),
            tenant: tenant.or_else(|| url.as_ref().and_then(|url| tenant_of(entry, url))),
            choice: url.as_ref().and_then(|url| {
                let (parameter, value) = entry.choice_of_host(&Authority::of(url))?;
                Some((parameter.to_owned(), value.to_owned()))
            }),
            url: None,
        }),
        (None, Some(url)) => Ok(Server {
            key: None,
            entry: None,
            url: Some(url),
            tenant: None,
            choice: None,
        }),
        (None, None) => Err(format!(
            "The file does not say which server its token is of: give --provider, one of {}.",
            catalogue.keys().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The entry whose own host this is. Several may share one: then the entry that was named, else the one that the others extend.
fn of_url<'a>(url: &Url, named: Option<&str>, catalogue: &'a Catalogue) -> Option<(&'a str, &'a Entry)> {
    let authority = Authority::of(url);
    let all: Vec<_> = catalogue
        .entries()
        .filter(|(_, entry)| entry.token_hosts().contains(&authority))
        .collect();
    let base = |entry: &Entry| {
        let base = entry.extends.as_deref();
        all.iter().all(|(key, _)| Some(*key) != base)
    };
    let by_name = all.iter().find(|(key, _)| Some(*key) == named);
    by_name.or_else(|| all.iter().find(|(_, entry)| base(entry))).copied()
}

/// The tenant that stands in a token endpoint, where the entry's template has it.
fn tenant_of(entry: &Entry, url: &Url) -> Option<String> {
    let template = Url::parse(&entry.token_url.as_ref()?.replace("{tenant}", "TENANT")).ok()?;
    let place = template.path_segments()?.position(|segment| segment == "TENANT")?;
    url.path_segments()?.nth(place).map(str::to_owned)
}

struct Wanted<'a> {
    name: &'a str,
    email: &'a str,
    namespace: Option<&'a str>,
    seeded: bool,
    scopes: &'a [String],
    authorization_url: Option<&'a str>,
}

fn asset(wanted: &Wanted<'_>, server: &Server<'_>, client: &Client) -> Value {
    let mut oauth2 = Map::new();
    let grant = if wanted.seeded {
        "RefreshToken"
    } else {
        "AuthorizationCode"
    };
    oauth2.insert("grant".to_owned(), json!(grant));
    match client {
        Client::Made { name, .. } | Client::There(name) => {
            oauth2.insert("clientCredentialsRef".to_owned(), json!({ "name": name }));
        }
        Client::Public(id) => {
            oauth2.insert("clientID".to_owned(), json!(id));
        }
    }
    if wanted.seeded {
        let seed = json!({"name": seed_name(wanted.name), "key": "refresh_token"});
        oauth2.insert("refreshTokenSecretRef".to_owned(), seed);
    }
    let takes_tenant = server.entry.is_some_and(|entry| {
        entry
            .parameters
            .get("tenant")
            .is_some_and(|tenant| tenant.fixed.is_none())
    });
    let tenant = server.tenant.clone().filter(|_| takes_tenant);
    let tenant = tenant.map(|tenant| ("tenant".to_owned(), tenant));
    let parameters: Map<String, Value> = tenant
        .into_iter()
        .chain(server.choice.clone())
        .map(|(name, value)| (name, Value::String(value)))
        .collect();
    if !parameters.is_empty() {
        oauth2.insert("parameters".to_owned(), Value::Object(parameters));
    }
    if let Some(url) = &server.url {
        oauth2.insert("tokenURL".to_owned(), json!(url.as_str()));
        if let Some(url) = wanted.authorization_url.filter(|_| !wanted.seeded) {
            oauth2.insert("authorizationURL".to_owned(), json!(url));
        }
    }
    // A refresh may ask for what was consented to and for nothing else.
    let sends_scopes = server
        .entry
        .is_none_or(|entry| entry.refresh.send_scope == SendScope::Requested);
    if sends_scopes && !wanted.scopes.is_empty() {
        oauth2.insert("scopes".to_owned(), json!(wanted.scopes));
    }
    let mut spec = Map::from_iter([("email".to_owned(), json!(wanted.email))]);
    if let Some(key) = server.key {
        spec.insert("provider".to_owned(), json!(key));
    }
    spec.insert("oauth2".to_owned(), Value::Object(oauth2));
    json!({
        "apiVersion": "emailasset.dev/v1alpha1",
        "kind": "EmailAsset",
        "metadata": metadata(wanted.name, wanted.namespace, None),
        "spec": spec,
    })
}

/// Holds the asset against the operator's own rules, so that what is printed can be applied.
fn checked(asset: &Value, catalogue: &Catalogue) -> Result<Rotation, String> {
    let read: EmailAsset = serde_json::from_value(asset.clone()).map_err(|error| error.to_string())?;
    if let Err(violations) = api::validate(&read, &AllowedKeys::default()) {
        let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
        return Err(format!(
            "No EmailAsset can be made of the file: {}.",
            all.join("; ").trim_end_matches('.')
        ));
    }
    let endpoints = provider::resolve(&read.spec, catalogue).map_err(|error| {
        format!("No EmailAsset can be made of the file: {error}. (--tenant sets spec.oauth2.parameters.tenant.)")
    })?;
    Ok(endpoints.rotation)
}

fn seed_name(asset: &str) -> String {
    format!("{asset}-seed")
}

fn metadata(name: &str, namespace: Option<&str>, hosts: Option<&str>) -> Value {
    let mut metadata = json!({ "name": name });
    if let Some(namespace) = namespace {
        set(&mut metadata, "namespace", json!(namespace));
    }
    if let Some(hosts) = hosts {
        set(&mut metadata, "annotations", json!({ names::HOSTS: hosts }));
    }
    metadata
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(key.to_owned(), value);
    }
}

fn secret(metadata: &Value, data: &[(&str, &str)]) -> Value {
    let data: Map<String, Value> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": data})
}

/// A name for the asset of a mailbox: what stands before the @, as Kubernetes wants names.
fn name_of(email: &str) -> String {
    let local = email.split('@').next().unwrap_or_default().to_lowercase();
    let name: String = local
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() {
        "mailbox".to_owned()
    } else {
        name.to_owned()
    }
}
