use serde_json::{Value, json};

use super::*;
use crate::{
    api::OAuth2,
    oauth::assertion::tests::{pem, rsa_pem},
    store::{
        index::{Kind as SecretKind, Seen},
        inputs::{Client, client, client_id},
    },
};

fn place() -> Key {
    Key::new("helpdesk", "mail-client")
}

fn contents(data: &[(&str, &str)]) -> Contents {
    let meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        uid: Some("u".to_owned()),
        resource_version: Some("1".to_owned()),
        ..Default::default()
    };
    let data: Vec<(&str, &[u8])> = data.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
    Contents::for_tests(Seen::new(SecretKind::Other, meta), &data)
}

fn read(data: &[(&str, &str)]) -> Result<Client, Complaint> {
    client(&place(), &contents(data))
}

/// A key file as the console downloads it, with changes; null takes a field away.
fn key_file(changes: &Value) -> String {
    let mut file = json!({
        "type": "service_account",
        "project_id": "helpdesk-1234",
        "private_key_id": "0a1b2c3d4e5f",
        "private_key": rsa_pem().expose_secret(),
        "client_email": "mail@helpdesk-1234.iam.gserviceaccount.com",
        "client_id": "103456789012345678901",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "universe_domain": "googleapis.com",
    });
    for (name, value) in changes.as_object().unwrap() {
        file[name] = value.clone();
    }
    let fields = file.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null());
    serde_json::to_string_pretty(&file).unwrap()
}

fn oauth2(spec: Value) -> OAuth2 {
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_key_file_is_found_under_the_name_it_was_downloaded_with() {
    for name in ["key.json", "helpdesk-1234-0a1b2c3d4e5f.json", "service-account"] {
        let found = read(&[(name, &key_file(&json!({})))]).unwrap();
        let account = found.service_account.as_ref().unwrap();
        assert_eq!(account.email, "mail@helpdesk-1234.iam.gserviceaccount.com");
        let bearer = oauth2(json!({"grant": "JWTBearer"}));
        assert_eq!(client_id(&place(), &found, &bearer).unwrap(), account.email);
    }
}

#[test]
fn a_key_file_that_would_send_assertions_elsewhere_is_refused() {
    for elsewhere in [
        "https://evil.example/token",
        "https://oauth2.googleapis.com.evil.example/token",
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com@evil.example/token",
        "not a URL",
    ] {
        let said = read(&[("key.json", &key_file(&json!({"token_uri": elsewhere})))]).unwrap_err();
        assert!(said.starts_with("Key key.json of Secret helpdesk/mail-client names a token_uri that is not Google's: expected https://oauth2.googleapis.com/token"), "{said}");
    }
    for own in [json!("https://accounts.google.com/o/oauth2/token"), json!(null)] {
        assert!(read(&[("key.json", &key_file(&json!({"token_uri": own})))]).is_ok());
    }
}

#[test]
fn what_is_wrong_with_a_key_file_is_said_without_a_word_of_the_key() {
    let encrypted = pem("ENCRYPTED PRIVATE KEY", b"hush-hush-hush");
    for (changes, expected) in [
        (
            json!({"private_key": null}),
            "is not the whole key file of a service account: expected client_email, private_key and private_key_id",
        ),
        (
            json!({"client_email": "no address"}),
            "has a client_email that is no address",
        ),
        (
            json!({"private_key_id": ""}),
            "has a private_key_id that cannot be used",
        ),
        (
            json!({"private_key": "hush"}),
            "has a private_key that holds no private key: expected PEM",
        ),
        (
            json!({"private_key": encrypted.expose_secret()}),
            "has a private_key that is encrypted with a passphrase",
        ),
        (
            json!({"type": "authorized_user"}),
            "is Google's file of type authorized_user: expected type service_account",
        ),
        (json!({"type": "hush"}), "is Google's file of type another"),
    ] {
        let said = read(&[("key.json", &key_file(&changes))]).unwrap_err();
        assert!(
            said.starts_with(&format!("Key key.json of Secret helpdesk/mail-client {expected}")),
            "{said}"
        );
        assert!(!said.contains("hush") && !said.contains("aHVzaC"), "{said}");
    }
    let two = [("a.json", key_file(&json!({}))), ("b.json", key_file(&json!({})))];
    let said = read(&[(two[0].0, &two[0].1), (two[1].0, &two[1].1)]).unwrap_err();
    assert!(
        said.contains("holds several key files of Google: expected one, found the keys a.json, b.json"),
        "{said}"
    );
}

#[test]
fn a_client_key_is_read_with_or_without_its_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["mail".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (key, certificate) = (key.serialize_pem(), certificate.pem());
    // A Secret of type kubernetes.io/tls always has both keys, and people write files with line ends of their own.
    for data in [
        vec![
            ("client_id", "our-client\n"),
            ("tls.key", key.as_str()),
            ("tls.crt", certificate.as_str()),
        ],
        vec![("tls.key", key.as_str())],
        vec![("tls.key", key.as_str()), ("key_id", "first\r\n")],
    ] {
        let found = read(&data).unwrap();
        assert!(found.key.is_some() && found.secret.is_none());
        let wanted = oauth2(
            json!({"grant": "ClientCredentials", "clientID": "our-client", "clientAuthentication": "PrivateKeyJWT"}),
        );
        assert_eq!(client_id(&place(), &found, &wanted).unwrap(), "our-client");
    }
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (data, expected) in [
        (
            vec![("tls.key", other.as_str()), ("tls.crt", certificate.as_str())],
            "Key tls.crt of Secret helpdesk/mail-client belongs to another private key",
        ),
        (
            vec![("tls.key", ""), ("tls.crt", certificate.as_str())],
            "Key tls.key of Secret helpdesk/mail-client is empty: expected PEM",
        ),
        (
            vec![("tls.key", certificate.as_str())],
            "Key tls.key of Secret helpdesk/mail-client holds no private key",
        ),
        (
            vec![("tls.key", key.as_str()), ("tls.crt", key.as_str())],
            "Key tls.crt of Secret helpdesk/mail-client holds no certificate",
        ),
        (
            vec![("tls.crt", certificate.as_str())],
            "Secret helpdesk/mail-client holds no OAuth client: expected the keys client_id and client_secret (or client_secret.json), tls.key and tls.crt, or a service account's key file, found the keys tls.crt.",
        ),
    ] {
        let said = read(&data).unwrap_err();
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_client_that_has_not_what_the_spec_wants_is_told_so() {
    let account = key_file(&json!({}));
    for (data, spec, expected) in [
        (
            vec![("client_id", "a"), ("client_secret", "b")],
            json!({"grant": "JWTBearer"}),
            "holds an OAuth client, and spec.oauth2.grant JWTBearer needs a service account: expected its key file",
        ),
        (
            vec![("key.json", account.as_str())],
            json!({"grant": "ClientCredentials"}),
            "holds the key of a service account, which spec.oauth2.grant JWTBearer uses; grant ClientCredentials needs an OAuth client",
        ),
        (
            vec![("client_id", "a")],
            json!({"grant": "ClientCredentials"}),
            "has nothing with which the client could prove itself",
        ),
        (
            vec![("client_id", "a"), ("client_secret", "b")],
            json!({"grant": "AuthorizationCode", "clientAuthentication": "PrivateKeyJWT"}),
            "PrivateKeyJWT, and Secret helpdesk/mail-client has no key tls.key",
        ),
        (
            vec![("client_secret", "b")],
            json!({"grant": "ClientCredentials"}),
            "has no key client_id, and spec.oauth2.clientID is not set",
        ),
    ] {
        let said = client_id(&place(), &read(&data).unwrap(), &oauth2(spec)).unwrap_err();
        assert!(
            said.contains("Secret helpdesk/mail-client") && said.contains(expected),
            "{said}"
        );
    }
    // A public client of a person's is as good as ever.
    let public = read(&[("client_id", "a")]).unwrap();
    assert_eq!(
        client_id(&place(), &public, &oauth2(json!({"grant": "AuthorizationCode"}))).unwrap(),
        "a"
    );
}
