//! What is found in manifests, and in which words.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;

fn checked(text: &str) -> Checked {
    checked_at(text, None)
}

fn checked_at(text: &str, public_url: Option<&str>) -> Checked {
    let rules = Rules {
        public_url: public_url.map(|url| url.parse().unwrap()),
        ..Rules::default()
    };
    check(&[("assets.yaml".to_owned(), text.to_owned())], &rules).unwrap()
}

const GOOD: &str = "\
apiVersion: emailasset.dev/v1alpha1
kind: EmailAsset
metadata: {name: support, namespace: helpdesk}
spec:
  email: support@example.com
  provider: google
  oauth2:
    grant: AuthorizationCode
    clientCredentialsRef: {name: google-client}
";

#[test]
fn a_good_manifest_has_no_errors_and_strangers_are_left_alone() {
    let text = format!("# ours\n{GOOD}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n---\n---\n");
    assert_eq!(
        checked(&text),
        Checked {
            assets: 1,
            ..Checked::default()
        }
    );
}

#[test]
fn a_format_that_cannot_be_made_is_found() {
    let text = GOOD.replace(
        "provider: google",
        "provider: google\n  smtp: {security: None}\n  secret: {formats: [Msmtp]}",
    );
    let problems = checked(&text).problems.join("\n");
    assert!(
        problems.contains("names Msmtp, and spec.smtp.security is None"),
        "{problems}"
    );
}

#[test]
fn each_problem_says_where_it_is_what_was_found_and_what_is_accepted() {
    for (change, problem) in [
        (
            ("grant: AuthorizationCode", "grant: AuthorisationCode"),
            "spec.oauth2.grant: is \"AuthorisationCode\", accepted is one of AuthorizationCode, DeviceCode, RefreshToken, ClientCredentials, JWTBearer (did you mean AuthorizationCode?)",
        ),
        (
            ("provider: google", "Provider: google"),
            "spec.Provider: there is no such field (did you mean provider?)",
        ),
        (
            (
                "clientCredentialsRef: {name: google-client}",
                "clientCredentialsRef: google-client",
            ),
            "spec.oauth2.clientCredentialsRef: is a text, accepted is an object with fields",
        ),
        (
            ("{name: google-client}", "{nmae: google-client}"),
            "spec.oauth2.clientCredentialsRef.nmae: there is no such field (did you mean name?)",
        ),
        (
            ("  provider: google", "  provider: google\n  smtp: {port: \"25\"}"),
            "spec.smtp.port: is a text, accepted is a whole number",
        ),
        (
            ("  email: support@example.com\n", ""),
            "spec.email: is missing (The address of the mailbox)",
        ),
        (
            ("provider: google", "provider: gogle"),
            "spec.provider: is \"gogle\", which is not in the catalogue: use one of ",
        ),
        (
            ("email: support@example.com", "email: support"),
            "spec.email is \"support\": must be one plain mailbox address",
        ),
        (
            ("kind: EmailAsset", "kind: Emailasset"),
            "kind: is \"Emailasset\", accepted is EmailAsset",
        ),
        (
            ("v1alpha1", "v1"),
            "apiVersion: is \"emailasset.dev/v1\", accepted is emailasset.dev/v1alpha1",
        ),
        (("name: support, ", ""), "metadata.name: is missing"),
        (("spec:\n", "spec:\nemail: x\n"), "this is no valid YAML"),
    ] {
        let text = format!("---\n\n{}", GOOD.replace(change.0, change.1));
        let found = checked(&text);
        assert!(
            found.problems.iter().any(|found| found.contains(problem)),
            "{change:?}: {found:#?}"
        );
        assert!(
            found.problems[0].starts_with("assets.yaml: document 1 (line 3)"),
            "{found:?}"
        );
    }
}

#[test]
fn a_provider_that_is_not_known_is_said_beside_all_else() {
    let text = GOOD
        .replace("provider: google", "provider: gogle")
        .replace("grant:", "gant:");
    let found = checked(&text);
    assert_eq!(found.problems.len(), 3, "{found:#?}");
    assert!(found.problems[2].contains("did you mean google?"), "{found:#?}");
}

#[test]
fn a_field_that_is_not_indented_is_said_to_belong_below_spec() {
    let found = checked(&format!("{GOOD}renewBefore: 20m\n"));
    assert!(
        found.problems[0]
            .ends_with("renewBefore: there is no such field at the top; most likely it belongs below spec")
    );
}

#[test]
fn one_bad_document_hides_no_other_and_lists_are_opened() {
    let bad = GOOD.replace("support@example.com", "support");
    let indented = format!("    {}\n", bad.trim_end().replace('\n', "\n    "));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n  -\n{indented}");
    let text = format!("a: [\n---\n{GOOD}---\n{list}");
    let found = checked(&text);
    assert_eq!(found.assets, 2);
    assert_eq!(found.problems.len(), 2, "{found:#?}");
    assert!(found.problems[0].starts_with("assets.yaml: document 1 (line 1): this is no valid YAML or JSON in line"));
    assert!(
        found.problems[1].starts_with("assets.yaml: document 3 (line 13), EmailAsset helpdesk/support: spec.email")
    );
}

/// Also where no address of sign-in pages is given.
#[test]
fn a_token_that_opens_more_than_one_mailbox_is_told_of() {
    let own = GOOD.replace("  provider: google\n", "").replace(
        "grant: AuthorizationCode",
        "grant: ClientCredentials\n    tokenURL: https://id.example.com/token",
    );
    let found = checked(&own);
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(
        found.advice[0].contains("may open more than support@example.com"),
        "{found:?}"
    );
    assert_eq!(checked(GOOD).advice, Vec::<String>::new());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Cut anywhere, and with anything put in, a file is checked or refused, and never the end of the command.
    #[test]
    fn any_text_is_checked_to_its_end(cut in 0..GOOD.len(), put in "\\PC{0,12}") {
        let text: String = GOOD.chars().take(cut).chain(put.chars()).chain(GOOD.chars().skip(cut)).collect();
        let found = checked(&text);
        proptest::prop_assert!(found.problems.iter().all(|problem| problem.starts_with("assets.yaml: document ")));
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    let text = GOOD.replace("{name: google-client}", "GOCSPX-very-secret");
    assert!(!format!("{:?}", checked(&text)).contains("GOCSPX"));
    let broken = format!("{GOOD}  password: \"GOCSPX-very-secret\n  x: 1\n");
    assert!(!format!("{:?}", checked(&broken)).contains("GOCSPX"));
}

const PUBLIC: &str = "https://mail.corp.example";

fn secret(client: &str) -> String {
    let data = STANDARD.encode(client);
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: google-client}}\ndata: {{client_secret.json: {data}}}\n"
    )
}

#[test]
fn a_redirect_uri_that_google_does_not_know_is_told_exactly() {
    let listed = r#"{"web": {"client_id": "1", "redirect_uris": ["https://mail.corp.example/callback/google"]}}"#;
    let text = format!("{GOOD}{}", secret(listed));
    assert_eq!(checked_at(&text, Some(PUBLIC)).advice, Vec::<String>::new());

    let other = r#"{"web": {"client_id": "1", "redirect_uris": ["https://mail.corp.example/callback/google/"]}}"#;
    let found = checked_at(&format!("{GOOD}{}", secret(other)), Some(PUBLIC));
    assert!(found.problems.is_empty());
    for word in [
        "\n  https://mail.corp.example/callback/google\n",
        "Google Auth Platform, Clients",
    ] {
        assert!(found.advice[0].contains(word), "{found:?}");
    }

    let desktop = r#"{"installed": {"client_id": "1", "redirect_uris": ["http://localhost"]}}"#;
    let found = checked_at(&format!("{GOOD}---\n{desktop}\n"), Some("https://mail.corp.example/"));
    assert!(found.advice[0].contains("desktop apps"), "{found:?}");
    assert!(found.advice[0].contains("https://mail.corp.example/callback/google"));
}

const DEVICE: &str = "\
apiVersion: emailasset.dev/v1alpha1
kind: EmailAsset
metadata: {name: support, namespace: helpdesk}
spec:
  email: support@example.com
  provider: microsoft
  oauth2:
    grant: DeviceCode
    parameters: {tenant: contoso.onmicrosoft.com}
    clientCredentialsRef: {name: entra}
";

#[test]
fn a_device_code_for_a_client_with_a_secret_is_warned_about_where_the_provider_gives_none() {
    let secret = |keys: &str| {
        format!("{DEVICE}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: entra}}\nstringData: {{{keys}}}\n")
    };
    let found = checked(&secret("client_id: x, client_secret: y"));
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(found.advice.len(), 1);
    for word in [
        "EmailAsset helpdesk/support: a sign-in with a code at Microsoft 365 needs an OAuth client without a secret",
        "Secret entra holds one",
        "AADSTS700025",
        "AADSTS7000218",
        "spec.oauth2.clientID",
        "AuthorizationCode",
    ] {
        assert!(found.advice[0].contains(word), "{word} is not said: {found:?}");
    }
    let found = checked(DEVICE);
    assert!(found.advice[0].contains("Secret entra may hold one"), "{found:?}");
}

#[test]
fn a_device_code_without_a_secret_or_where_secrets_are_taken_needs_no_advice() {
    let public =
        format!("{DEVICE}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: entra}}\nstringData: {{client_id: x}}\n");
    let by_id = DEVICE.replace("clientCredentialsRef: {name: entra}", "clientID: x");
    let unused = DEVICE.replace("grant: DeviceCode", "grant: DeviceCode\n    clientAuthentication: None");
    let in_browser = DEVICE.replace("DeviceCode", "AuthorizationCode");
    let own = DEVICE.replace("  provider: microsoft\n", "").replace(
        "parameters: {tenant: contoso.onmicrosoft.com}",
        "tokenURL: https://id.example.com/token\n    deviceAuthorizationURL: https://id.example.com/device",
    );
    for text in [public, by_id, unused, in_browser, own] {
        let found = checked(&text);
        assert_eq!((found.problems, found.advice), (Vec::new(), Vec::new()), "{text}");
    }
}
