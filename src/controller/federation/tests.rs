use secrecy::ExposeSecret;

use super::*;

fn federation(file: Option<&Path>) -> Federation {
    Federation {
        file: file.map(Path::to_owned),
        clients: vec!["helpdesk/app-1".to_owned(), "*/app-2".to_owned()],
        hosts: vec![Authority::parse("sts.example.com:8443").unwrap()],
    }
}

/// What is said where no token can be had.
async fn refused(federation: &Federation, namespace: &str, client: &str) -> NoToken {
    federation.token(namespace, client).await.unwrap_err()
}

fn not_given(problem: NoToken) -> String {
    match problem {
        NoToken::NotGiven(said) => said,
        NoToken::Unreadable(said) => panic!("{said}"),
    }
}

fn unreadable(problem: NoToken) -> String {
    match problem {
        NoToken::Unreadable(said) => said,
        NoToken::NotGiven(said) => panic!("{said}"),
    }
}

#[tokio::test]
async fn the_file_is_read_for_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let federation = federation(Some(&file));
    for text in ["first.token\n", "second.token"] {
        std::fs::write(&file, text).unwrap();
        let token = federation.token("helpdesk", "app-1").await.unwrap();
        assert_eq!(token.expose_secret(), text.trim());
    }
    std::fs::remove_file(&file).unwrap();
    let said = unreadable(refused(&federation, "helpdesk", "app-1").await);
    assert!(said.contains("--federated-token-file does not exist"), "{said}");
}

#[tokio::test]
async fn a_namespace_uses_the_clients_that_the_settings_give_it_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "a.token").unwrap();
    let federation = federation(Some(&file));
    for (namespace, client) in [("helpdesk", "app-1"), ("helpdesk", "app-2"), ("other", "app-2")] {
        assert!(
            federation.token(namespace, client).await.is_ok(),
            "{namespace}/{client}"
        );
    }
    for (namespace, client) in [
        ("other", "app-1"),
        ("helpdesk", "app-3"),
        ("helpdesk", "app-1/app-1"),
        ("*", "app-1"),
    ] {
        let said = not_given(refused(&federation, namespace, client).await);
        assert!(
            said.ends_with(&format!("--federated-client {namespace}/{client}")),
            "{said}"
        );
    }
    let none = not_given(refused(&Federation::default(), "helpdesk", "app-1").await);
    assert!(none.contains("--federated-token-file"), "{none}");
}

#[tokio::test]
async fn a_file_that_holds_no_token_is_told_without_its_contents() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let federation = federation(Some(&file));
    let large = "x".repeat(LARGEST + 1);
    for (text, expected) in [
        (&b""[..], "holds no token"),
        (b"two hush\nlines", "holds no token"),
        (b"\xff\xfe", "is not text"),
        (large.as_bytes(), "is larger than a token"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = unreadable(refused(&federation, "helpdesk", "app-1").await);
        assert!(said.contains(expected) && !said.contains("hush"), "{said}");
    }
}

#[test]
fn the_identity_goes_to_hosts_of_the_catalogue_and_of_the_settings_alone() {
    let own = [Authority::parse("login.microsoftonline.com:443").unwrap()];
    let federation = federation(None);
    let check = |url: &str| federation.check_host(&own, &Url::parse(url).unwrap());
    assert!(check("https://login.microsoftonline.com/0f0f/oauth2/v2.0/token").is_ok());
    assert!(check("https://sts.example.com:8443/token").is_ok());
    for elsewhere in [
        "https://login.microsoftonline.com:8443/token",
        "https://login.microsoftonline.com.evil.example/token",
        "https://login.microsoftonline.com@evil.example/token",
        "https://sts.example.com/token",
        "http://login.microsoftonline.com:443/token",
    ] {
        let said = check(elsewhere).unwrap_err();
        assert!(said.contains("--federated-host"), "{said}");
    }
}
