//! Each format, from a file as its tool writes it to the manifests.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::*;
use crate::api::{AllowedKeys, EmailAsset, validate};

fn arguments() -> ImportArguments {
    ImportArguments {
        from: Tool::Auto,
        file: PathBuf::from("-"),
        email: None,
        account: None,
        name: None,
        provider: None,
        tenant: None,
        client_id: None,
        client_secret_ref: None,
        sign_in: false,
    }
}

fn with(change: impl FnOnce(&mut ImportArguments)) -> ImportArguments {
    let mut arguments = arguments();
    change(&mut arguments);
    arguments
}

fn documents(file: impl AsRef<[u8]>, arguments: &ImportArguments) -> Vec<Value> {
    let imported = import(file.as_ref(), arguments, Some("helpdesk")).unwrap_or_else(|error| panic!("{error}"));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&imported.yaml).unwrap();
    for document in documents.iter().filter(|document| document["kind"] == "EmailAsset") {
        let asset: EmailAsset = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(validate(&asset, &AllowedKeys::default()), Ok(()));
    }
    documents
}

fn complaint(file: impl AsRef<[u8]>, arguments: &ImportArguments) -> String {
    import(file.as_ref(), arguments, None).err().unwrap()
}

const MUTT: &str = r#"{"registration": "google", "authflow": "localhostauthcode", "email": "support@example.com",
    "access_token": "ya29.access", "access_token_expiration": "2026-11-25T11:00:00.123456", "refresh_token": "1//refresh"}"#;

#[test]
fn a_decrypted_file_of_mutt_needs_only_its_client() {
    let arguments = with(|arguments| arguments.client_secret_ref = Some("oauth-client".to_owned()));
    let made = documents(MUTT, &arguments);
    assert_eq!(made.len(), 2);
    assert_eq!(made[0]["metadata"]["name"], "support-seed");
    assert_eq!(made[0]["metadata"]["namespace"], "helpdesk");
    assert_eq!(made[0]["stringData"]["refresh_token"], "1//refresh");
    assert_eq!(made[1]["spec"]["email"], "support@example.com");
    assert_eq!(made[1]["spec"]["provider"], "google");
    assert_eq!(
        made[1]["spec"]["oauth2"]["clientCredentialsRef"]["name"],
        "oauth-client"
    );
    assert!(complaint(MUTT, &super::tests::arguments()).contains("--client-secret-ref"));
}

#[test]
fn a_file_of_neomutt_brings_its_client_and_microsoft_wants_the_tenant() {
    let file = r#"{"registration": "microsoft", "authflow": "devicecode", "email": "jane@contoso.example", "refresh_token": "0.refresh",
        "client_id": "client-1", "client_secret": ""}"#;
    assert!(complaint(file, &arguments()).contains("--tenant"));
    let made = documents(
        file,
        &with(|arguments| arguments.tenant = Some("contoso.example".to_owned())),
    );
    assert_eq!(made.len(), 2);
    let oauth2 = &made[1]["spec"]["oauth2"];
    assert_eq!(oauth2["clientID"], "client-1");
    assert_eq!(oauth2["parameters"]["tenant"], "contoso.example");
}

#[test]
fn an_encrypted_file_is_answered_with_the_command_that_opens_it() {
    let armored = "-----BEGIN PGP MESSAGE-----\n\nhQEMA…\n";
    let binary = [0x85, 0x01, 0x0c, 0x03, 0xff, 0xfe, 0x00, 0x80];
    assert!(complaint(armored, &arguments()).contains("gpg --decrypt"));
    assert!(complaint(binary, &with(|arguments| arguments.from = Tool::MuttOauth2)).contains("gpg --decrypt"));
    assert!(complaint("age-encryption.org/v1\n", &arguments()).contains("age --decrypt"));
}

#[test]
fn a_file_of_sasl_xoauth2_is_google_unless_it_names_another_endpoint() {
    let file = r#"{"access_token": "a", "client_id": "id-1", "client_secret": "hush", "expiry": "1790000000", "refresh_token": "1//r", "user": "support@example.com"}"#;
    let made = documents(file, &arguments());
    assert_eq!(made.len(), 3);
    assert_eq!(made[1]["metadata"]["name"], "support-client");
    assert_eq!(made[1]["stringData"]["client_secret"], "hush");
    assert_eq!(made[2]["spec"]["provider"], "google");

    let file = r#"{"client_id": "id-1", "client_secret": "hush", "expiry": "0", "refresh_token": "r",
        "token_endpoint": "https://login.microsoftonline.com/consumers/oauth2/v2.0/token", "scope": "https://outlook.office.com/SMTP.Send offline_access"}"#;
    let made = documents(
        file,
        &with(|arguments| arguments.email = Some("jane@outlook.com".to_owned())),
    );
    let oauth2 = &made[2]["spec"]["oauth2"];
    assert_eq!(made[2]["spec"]["provider"], "microsoft");
    assert_eq!(oauth2["parameters"]["tenant"], "consumers");
    assert_eq!(oauth2["scopes"][0], "https://outlook.office.com/SMTP.Send");
    assert!(complaint(file, &arguments()).contains("--email"));
}

#[test]
fn a_server_outside_the_catalogue_is_named_in_the_secrets_too() {
    let file = r#"{"client_id": "id-1", "client_secret": "hush", "refresh_token": "r", "token_endpoint": "https://id.example.com:8443/token"}"#;
    let arguments = with(|arguments| arguments.email = Some("Team.Desk+1@example.com".to_owned()));
    let made = documents(file, &arguments);
    assert_eq!(made[0]["metadata"]["name"], "team-desk-1-seed");
    for secret in &made[..2] {
        assert_eq!(
            secret["metadata"]["annotations"]["emailasset.dev/hosts"],
            "id.example.com:8443"
        );
    }
    assert_eq!(
        made[2]["spec"]["oauth2"]["tokenURL"],
        "https://id.example.com:8443/token"
    );
    let imported = import(file.as_bytes(), &arguments, None).ok().unwrap();
    assert!(
        imported.notes[0].contains("Stop sasl-xoauth2 before"),
        "{:?}",
        imported.notes
    );
}

/// As the file that comes with the tool, with a Fernet value of the right form where a token was stored.
fn emailproxy(refresh_token: &str) -> String {
    format!(
        "[Email OAuth 2.0 Proxy configuration file]\ndocumentation = This is a sample.\n\tIt goes on here: with = signs.\n\n[Server setup]\n\n[IMAP-1993]\n\
         server_address = outlook.office365.com\nserver_port = 993\n\n[Account setup]\n\n[jane@contoso.example]\n\
         permission_url = https://login.microsoftonline.com/common/oauth2/v2.0/authorize\ntoken_url = https://login.microsoftonline.com/common/oauth2/v2.0/token\n\
         oauth2_scope = https://outlook.office365.com/IMAP.AccessAsUser.All offline_access\nredirect_uri = http://localhost\nclient_id = client-1\n\
         client_secret = hush%%now\ntoken_salt = c2FsdHNhbHRzYWx0c2FsdA==\ntoken_iterations = 870000\naccess_token = {refresh_token}\naccess_token_expiry = 1790000000\n\
         refresh_token = {refresh_token}\n\n[your.email@gmail.com]\ntoken_url = https://oauth2.googleapis.com/token\nclient_id = *** your client id here ***\n"
    )
}

#[test]
fn encrypted_tokens_of_email_oauth2_proxy_become_one_sign_in() {
    let fernet = STANDARD.encode([[0x80, 0, 0, 0, 0].as_slice(), &[9; 80]].concat());
    let file = emailproxy(&fernet);
    let chosen = with(|arguments| arguments.email = Some("jane@contoso.example".to_owned()));
    let refused = complaint(&file, &chosen);
    assert!(refused.contains("--sign-in"), "{refused}");
    assert!(!refused.contains(&fernet));

    let made = documents(
        &file,
        &with(|arguments| {
            arguments.email = Some("jane@contoso.example".to_owned());
            arguments.sign_in = true;
        }),
    );
    assert_eq!(made.len(), 2);
    assert_eq!(made[1]["spec"]["oauth2"]["grant"], "AuthorizationCode");
    assert_eq!(made[1]["spec"]["oauth2"]["parameters"]["tenant"], "common");
    assert_eq!(made[0]["stringData"]["client_id"], "client-1");
}

#[test]
fn plain_tokens_of_email_oauth2_proxy_are_taken() {
    let chosen = with(|arguments| arguments.account = Some("jane@contoso.example".to_owned()));
    let made = documents(emailproxy("0.plain"), &chosen);
    assert_eq!(made[0]["stringData"]["refresh_token"], "0.plain");
    assert_eq!(
        made[2]["spec"]["oauth2"]["scopes"][0],
        "https://outlook.office365.com/IMAP.AccessAsUser.All"
    );
}

#[test]
fn a_dump_of_pizauth_is_read_and_its_accounts_are_chosen_by_name() {
    let dump = pizauth::tests::dump(1);
    let made = documents(
        &dump,
        &with(|arguments| arguments.account = Some("officesmtp".to_owned())),
    );
    assert_eq!(made[0]["stringData"]["refresh_token"], "refresh-1");
    assert_eq!(made[2]["spec"]["email"], "jane@contoso.example");
    assert_eq!(made[2]["spec"]["oauth2"]["parameters"]["tenant"], "common");
    let unknown = complaint(&dump, &with(|arguments| arguments.account = Some("nobody".to_owned())));
    assert!(unknown.contains("officesmtp, empty"), "{unknown}");
}

#[test]
fn googles_authorized_user_is_taken_and_a_token_without_mail_is_said() {
    let file = r#"{"type": "authorized_user", "client_id": "1.apps.googleusercontent.com", "client_secret": "hush", "refresh_token": "1//r",
        "universe_domain": "googleapis.com", "account": ""}"#;
    let email = || with(|arguments| arguments.email = Some("support@example.com".to_owned()));
    let made = documents(file, &email());
    assert_eq!(made[2]["spec"]["provider"], "google");
    assert!(made[2]["spec"]["oauth2"].get("scopes").is_none());

    let library = r#"{"token": "ya29", "refresh_token": "1//r", "token_uri": "https://oauth2.googleapis.com/token", "client_id": "1.apps.googleusercontent.com",
        "client_secret": "hush", "scopes": ["https://www.googleapis.com/auth/drive"], "expiry": "2026-11-25T10:00:00Z"}"#;
    let imported = import(library.as_bytes(), &email(), None).ok().unwrap();
    assert!(
        imported
            .notes
            .iter()
            .any(|note| note.contains("https://mail.google.com/"))
    );
    let gcloud = file.replace("1.apps", "764086051850-x.apps");
    let imported = import(gcloud.as_bytes(), &email(), None).ok().unwrap();
    assert!(imported.notes.iter().any(|note| note.contains("gcloud's own")));
}

#[test]
fn what_is_not_a_token_file_is_answered_with_the_next_step() {
    let client = r#"{"web": {"client_id": "1", "client_secret": "hush-hush"}}"#;
    assert!(complaint(client, &arguments()).contains("client_secret.json"));
    for file in ["", "hello", "{}", "[1]", "{\"refresh_token\": 7}"] {
        let refused = complaint(
            file,
            &with(|arguments| arguments.email = Some("a@example.com".to_owned())),
        );
        assert!(!refused.is_empty(), "{file}");
    }
    let other = complaint(MUTT, &with(|arguments| arguments.from = Tool::Pizauth));
    assert!(other.contains("pizauth dump"), "{other}");
}

#[test]
fn no_complaint_quotes_a_token() {
    for file in [
        MUTT.replace("support@example.com", "no address"),
        MUTT.replace("google", "nowhere"),
        emailproxy("0.secret-token"),
    ] {
        let refused = complaint(&file, &arguments());
        assert!(!refused.contains("refresh") || !refused.contains("1//"), "{refused}");
        assert!(!refused.contains("0.secret"), "{refused}");
    }
}
