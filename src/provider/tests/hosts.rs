//! Who may receive a credential (invariant 11), and what a person reads when a host may not.

use url::Url;

use super::*;

/// Invariant 11. Each of these is a try to have Google's client secret and refresh token sent to somebody else.
#[test]
fn no_look_alike_of_a_providers_host_gets_a_credential() {
    for url in [
        "https://oauth2.googleapis.com.evil.example/token",
        "https://evil.example/oauth2.googleapis.com/token",
        "https://evil.example/?oauth2.googleapis.com",
        "https://oauth2-googleapis.com/token",
        "https://xoauth2.googleapis.com/token",
        "https://googleapis.com/token",
        "https://storage.googleapis.com/upload",
        "https://www.googleapis.com/upload/storage/v1/b/evil/o",
        "https://oauth2.googleapis.com./token",
        "https://oauth2.googleapis.com:8443/token",
        "https://xn--oauth2-ggleapis-8uqb.com/token",
        "https://oauth2.googleapis.com:pw@evil.example/token",
        "https://oauth2.googleapis.com%2f@evil.example/token",
        "https://oauth2%2egoogleapis%2ecom.evil.example/token",
        "https://оauth2.googleapis.com/token",
        "https://oauth2.googleapis。com.evil.example/token",
        "https://142.250.74.106/token",
        "https://[2a00:1450:4001:81c::200a]/token",
        "https://2398769770/token",
        "https://evil.example\\.oauth2.googleapis.com/token",
        "http://oauth2.googleapis.com/token",
        "https://login.microsoftonline.com/x/oauth2/v2.0/token",
    ] {
        // As if no rule of the spec had stopped it before.
        let Ok(url) = Url::parse(url) else { continue };
        for endpoints in [
            Endpoints {
                token_url: url.clone(),
                refresh_url: url.clone(),
                ..google()
            },
            Endpoints {
                refresh_url: url.clone(),
                ..google()
            },
            Endpoints {
                token_url: url.clone(),
                ..google()
            },
        ] {
            let refusals = check_hosts(&endpoints, &[CLIENT, SEED]).expect_err(url.as_str()).0;
            assert_eq!(
                refusals.iter().map(|refusal| refusal.name.as_str()).collect::<Vec<_>>(),
                ["client", "seed"]
            );
        }
    }
}

#[test]
fn another_spelling_of_the_same_host_is_the_same_host() {
    for url in [
        "https://OAuth2.GoogleAPIs.com/token",
        "https://oauth2.googleapis.com:443/token",
    ] {
        let override_ = json!({"tokenURL": url});
        let endpoints = resolve(&spec(Some("google"), override_, json!({})), catalogue()).unwrap();
        assert_eq!(check_hosts(&endpoints, &[CLIENT, SEED]), Ok(()), "{url}");
    }
}

#[test]
fn each_secret_must_name_the_host_itself() {
    let endpoints = elsewhere("https://id.example.com/token");
    let named = Some("id.example.com");
    let allowed_client = InputSecret { hosts: named, ..CLIENT };
    let allowed_seed = InputSecret { hosts: named, ..SEED };
    assert_eq!(check_hosts(&endpoints, &[allowed_client, allowed_seed]), Ok(()));
    assert_eq!(
        check_hosts(&endpoints, &[allowed_client, SEED]).unwrap_err().0[0].name,
        "seed"
    );
    assert_eq!(
        check_hosts(&endpoints, &[CLIENT, allowed_seed]).unwrap_err().0[0].name,
        "client"
    );
    assert_eq!(
        check_hosts(&endpoints, &[allowed_seed]),
        Ok(()),
        "a public client has no Secret"
    );
}

#[test]
fn an_annotation_names_whole_hosts() {
    let policy = |annotation| HostPolicy::new(&[], Some(annotation));
    let allows = |annotation, url| policy(annotation).allows(&Url::parse(url).unwrap());
    for (annotation, url) in [
        ("id.example.com", "https://id.example.com/token"),
        ("id.example.com", "https://id.example.com:8443/token"),
        (" a.example , ID.Example.com ", "https://id.example.com/token"),
        ("id.example.com:8443", "https://id.example.com:8443/token"),
        ("id.example.com:443", "https://id.example.com/token"),
        ("127.0.0.1", "https://127.0.0.1:9443/token"),
        ("127.0.0.1:9443", "https://0x7f.1:9443/token"),
        ("[::1]:9443", "https://[::1]:9443/token"),
        ("[0:0:0:0:0:0:0:1]", "https://[::1]/token"),
    ] {
        assert!(allows(annotation, url), "{annotation:?} names {url}");
    }
    for (annotation, url) in [
        ("", "https://id.example.com/token"),
        ("*", "https://id.example.com/token"),
        ("*.example.com", "https://id.example.com/token"),
        (".example.com", "https://id.example.com/token"),
        ("example.com", "https://id.example.com/token"),
        ("id.example.com", "https://xid.example.com/token"),
        ("id.example.com", "http://id.example.com/token"),
        ("id.example.com:8443", "https://id.example.com/token"),
        ("id.example.com:8443", "https://id.example.com:9443/token"),
        ("id.example.com:+443", "https://id.example.com/token"),
        ("id.example.com:", "https://id.example.com/token"),
        ("https://id.example.com/token", "https://id.example.com/token"),
        ("id.example.com/path", "https://id.example.com/path"),
        ("id.example.com.", "https://id.example.com/token"),
        ("id.example.com other.example", "https://other.example/token"),
        ("user@id.example.com", "https://id.example.com/token"),
    ] {
        assert!(!allows(annotation, url), "{annotation:?} does not name {url}");
    }
}

#[test]
fn what_is_no_host_is_no_entry() {
    for entry in [
        "",
        "*",
        "*.example.com",
        "id.example.com.",
        "id.example.com:0",
        "id.example.com:65536",
        "[::1",
        "bücher.example",
        "a b",
        "a@b",
        "a/b",
    ] {
        assert_eq!(Authority::parse(entry), None, "{entry:?}");
    }
}

#[test]
fn the_message_has_the_exact_command() {
    let endpoints = elsewhere("https://id.example.com/token");
    let message = check_hosts(&endpoints, &[SEED]).unwrap_err().to_string();
    assert_eq!(
        message,
        "The contents of Secret helpdesk/seed may not be sent to id.example.com: this is no host of the provider in use, and the Secret does not name it. \
         If the host is right, somebody who may change the Secret allows it: kubectl annotate secret -n helpdesk seed emailasset.dev/hosts=id.example.com"
    );
    let with_others = InputSecret {
        hosts: Some("a.example:443, *.example.com, b.example"),
        ..SEED
    };
    let other_port = elsewhere("https://id.example.com:8443/token");
    let message = check_hosts(&other_port, &[with_others]).unwrap_err().to_string();
    assert!(
        message.ends_with("kubectl annotate secret -n helpdesk seed emailasset.dev/hosts=a.example:443,b.example,id.example.com:8443 --overwrite"),
        "{message}"
    );
    assert!(
        message.contains("1 of the entries in its annotation emailasset.dev/hosts cannot be read"),
        "{message}"
    );
}

#[test]
fn following_the_command_allows_the_host() {
    for url in [
        "https://id.example.com/token",
        "https://127.0.0.1:9443/token",
        "https://[::1]:9443/token",
    ] {
        let endpoints = elsewhere(url);
        let message = check_hosts(&endpoints, &[SEED]).unwrap_err().to_string();
        let value = message.split("emailasset.dev/hosts=").nth(1).unwrap();
        assert_eq!(
            check_hosts(
                &endpoints,
                &[InputSecret {
                    hosts: Some(value),
                    ..SEED
                }]
            ),
            Ok(()),
            "{value}"
        );
    }
}

#[test]
fn one_secret_with_client_and_seed_gets_one_command_for_all_hosts() {
    let two = json!({"tokenURL": "https://id.example.com/token", "refreshURL": "https://re.example.com/token"});
    let endpoints = resolve(&spec(None, two, json!({})), catalogue()).unwrap();
    let message = check_hosts(&endpoints, &[SEED, SEED]).unwrap_err().to_string();
    assert_eq!(message.matches("kubectl annotate").count(), 1);
    assert!(
        message.ends_with("emailasset.dev/hosts=id.example.com,re.example.com"),
        "{message}"
    );
}

/// Invariant 11: whoever may edit an asset, and make Secrets, does not have a stored grant "given back" to a server of theirs.
#[test]
fn a_stored_grant_is_given_back_only_where_it_is_from() {
    let with = |more: Value| {
        let mut oauth2 = json!({"tokenURL": "https://id.example.com:8443/token"});
        json_patch::merge(&mut oauth2, &more);
        resolve(&spec(None, oauth2, json!({})), catalogue()).unwrap()
    };
    for (url, allowed) in [
        ("https://id.example.com:8443/revoke", true),
        ("https://ID.example.com:8443/other/revoke", true),
        ("https://id.example.com/revoke", false),
        ("https://id.example.com.evil.example:8443/revoke", false),
        ("https://evil.example/id.example.com:8443/revoke", false),
    ] {
        let endpoints = with(json!({"revocationURL": url}));
        assert_eq!(check_giving_back(&endpoints).is_ok(), allowed, "{url}");
    }
    // A token endpoint of theirs beside the refresh endpoint that the grant is bound to makes no difference.
    let endpoints = with(json!({
        "tokenURL": "https://evil.example/token", "refreshURL": "https://id.example.com:8443/token",
        "revocationURL": "https://evil.example/revoke",
    }));
    assert_eq!(
        check_giving_back(&endpoints).unwrap_err().to_string(),
        "spec.oauth2.revocationURL is at evil.example, and the refresh token of this asset is sent only to id.example.com:8443, where it is redeemed, and to \
         hosts of the provider in use: set it to an endpoint there, or leave it out and set grantDeletionPolicy to Delete"
    );
    assert_eq!(check_giving_back(&google()), Ok(()));
}
