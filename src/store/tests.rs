//! What holds of the index, of patches and of what is read from inputs, without an API server.

use std::collections::{BTreeMap, HashSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::*;
use crate::api::names;

fn key(name: &str) -> Key {
    Key::new("helpdesk", name)
}

fn meta(uid: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        uid: Some(uid.to_owned()),
        resource_version: Some(version.to_owned()),
        ..ObjectMeta::default()
    }
}

fn owned(uid: &str, version: &str, owner: &str) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: "emailasset.dev/v1alpha1".to_owned(),
        kind: "EmailAsset".to_owned(),
        name: "support".to_owned(),
        uid: owner.to_owned(),
        ..OwnerReference::default()
    };
    ObjectMeta {
        owner_references: Some(vec![owner]),
        ..meta(uid, version)
    }
}

mod index {
    use super::*;

    fn seen(uid: &str, version: &str) -> Seen {
        Seen::new(Kind::Other, meta(uid, version))
    }

    #[test]
    fn a_copy_of_what_was_just_written_is_nothing_new() {
        let index = Index::default();
        assert_eq!(index.take_in(key("a"), seen("u", "7")), Change::Changed);
        assert_eq!(index.take_in(key("a"), seen("u", "7")), Change::Known);
    }

    #[test]
    fn a_watch_that_lags_does_not_bring_an_older_edition_back() {
        let index = Index::default();
        index.take_in(key("a"), seen("u", "10"));
        assert_eq!(index.take_in(key("a"), seen("u", "9")), Change::Known);
        assert_eq!(index.get(&key("a")).unwrap().resource_version, "10");
    }

    #[test]
    fn a_deletion_of_the_object_before_does_not_remove_its_successor() {
        let index = Index::default();
        index.take_in(key("a"), seen("new", "12"));
        assert_eq!(index.forget(&key("a"), "old"), Change::Known);
        assert!(index.get(&key("a")).is_some());
        assert_eq!(index.forget(&key("a"), "new"), Change::Changed);
        assert!(index.get(&key("a")).is_none());
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_contain_of_its_kind_and_namespace_only() {
        let index = Index::default();
        let elsewhere = Key::new("billing", "c");
        index.take_in(key("a"), seen("1", "1"));
        index.take_in(key("b"), seen("2", "2"));
        index.take_in(key("t"), Seen::new(Kind::Token, meta("3", "3")));
        index.take_in(elsewhere.clone(), seen("4", "4"));
        let gone = index.keep_only(Kind::Other, Some("helpdesk"), &HashSet::from([key("a")]));
        assert_eq!(gone, [key("b")]);
        assert!(index.get(&key("t")).is_some() && index.get(&elsewhere).is_some());
    }

    #[test]
    fn token_secrets_are_found_by_their_owner_until_they_go() {
        let index = Index::default();
        index.take_in(key("t"), Seen::new(Kind::Token, owned("1", "1", "asset")));
        assert_eq!(index.tokens_of("asset"), [key("t")]);
        index.forget(&key("t"), "1");
        assert!(index.tokens_of("asset").is_empty());
    }

    #[test]
    fn kinds_are_told_apart_by_type() {
        assert_eq!(Kind::of(Some(names::GRANT_SECRET_TYPE)), Kind::Grant);
        assert_eq!(Kind::of(Some(names::TOKEN_SECRET_TYPE)), Kind::Token);
        assert_eq!(Kind::of(Some("Opaque")), Kind::Other);
        assert_eq!(Kind::of(None), Kind::Other);
    }
}

mod patches {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::secrets::operations;

    fn patched(mut object: Value, seen: &Seen, changes: &Changes) -> Result<Value, json_patch::PatchError> {
        let patch: json_patch::Patch = serde_json::from_value(operations(seen, changes)).unwrap();
        json_patch::patch(&mut object, &patch).map(|()| object)
    }

    fn object(version: &str) -> Value {
        json!({"metadata": {"resourceVersion": version, "annotations": {"theirs": "stays", "ours": "old"}}, "data": {"stale": "eA=="}})
    }

    fn seen(version: &str) -> Seen {
        let annotations = BTreeMap::from([
            ("theirs".to_owned(), "stays".to_owned()),
            ("ours".to_owned(), "old".to_owned()),
        ]);
        let annotated = ObjectMeta {
            annotations: Some(annotations),
            ..meta("u", version)
        };
        Seen::new(Kind::Token, annotated)
    }

    #[test]
    fn an_edition_that_was_not_seen_is_not_changed() {
        assert!(patched(object("8"), &seen("7"), &Changes::default()).is_err());
        assert!(patched(object("7"), &seen("7"), &Changes::default()).is_ok());
    }

    #[test]
    fn contents_are_replaced_whole_and_foreign_metadata_stays() {
        let changes = Changes {
            data: Some(BTreeMap::from([("access_token".to_owned(), "t".into())])),
            annotations: BTreeMap::from([("ours".to_owned(), Some("new".to_owned()))]),
            ..Changes::default()
        };
        let result = patched(object("7"), &seen("7"), &changes).unwrap();
        assert_eq!(result["data"], json!({"access_token": "dA=="}));
        assert_eq!(
            result["metadata"]["annotations"],
            json!({"theirs": "stays", "ours": "new"})
        );
    }

    #[test]
    fn removing_what_is_not_there_is_no_failure() {
        let changes = Changes {
            annotations: BTreeMap::from([("absent/key~".to_owned(), None), ("ours".to_owned(), None)]),
            ..Changes::default()
        };
        let result = patched(object("7"), &seen("7"), &changes).unwrap();
        assert_eq!(result["metadata"]["annotations"], json!({"theirs": "stays"}));
    }

    #[test]
    fn labels_can_be_set_where_somebody_removed_them_all() {
        let changes = Changes {
            labels: BTreeMap::from([("a".to_owned(), Some("b".to_owned())), ("gone".to_owned(), None)]),
            ..Changes::default()
        };
        let result = patched(object("7"), &seen("7"), &changes).unwrap();
        assert_eq!(result["metadata"]["labels"], json!({"a": "b"}));
    }
}

mod rendering {
    use secrecy::ExposeSecret;

    use super::{token::Rendering, *};
    use crate::{
        api::Format,
        formats::{Mailbox, Outline},
    };

    #[test]
    fn the_digest_changes_with_every_part_and_with_nothing_else() {
        let set =
            |map: &mut BTreeMap<String, String>, key: &str, value: &str| map.insert(key.to_owned(), value.to_owned());
        let base = Rendering::default();
        let mut settings = base.clone();
        set(&mut settings.settings, "a", "bc");
        let mut moved = base.clone();
        set(&mut moved.settings, "ab", "c");
        let mut labels = base.clone();
        set(&mut labels.labels, "a", "bc");
        let with = |formats: &[Format]| Rendering {
            formats: Outline::new(formats, &MAILBOX).unwrap(),
            ..base.clone()
        };
        let formats = [with(&[Format::Json]), with(&[Format::Json, Format::Env])];
        let all = [&base, &settings, &moved, &labels].into_iter().chain(&formats);
        let digests: HashSet<String> = all.map(Rendering::digest).collect();
        assert_eq!(digests.len(), 6);
        assert_eq!(settings.digest(), settings.clone().digest());
    }

    /// Otherwise a new version of the operator would write every Secret anew.
    #[test]
    fn the_digest_without_formats_is_what_it_was_before_there_were_formats() {
        let mut rendering = Rendering::default();
        rendering
            .settings
            .insert("email".to_owned(), "support@example.com".to_owned());
        assert_eq!(rendering.digest(), "b53d3dde5831b336");
    }

    #[test]
    fn ready_made_keys_stand_beside_the_default_ones_and_take_none_of_their_places() {
        let mut rendering = Rendering {
            formats: Outline::new(&[Format::Json, Format::Env], &MAILBOX).unwrap(),
            ..Rendering::default()
        };
        // A default key with the name of a ready-made one, which no format has.
        rendering.settings.insert("token.env".to_owned(), "default".to_owned());
        let token = token::AccessToken {
            token: "T".into(),
            token_type: "Bearer".to_owned(),
        };
        let data = token::data(&rendering, None, &token);
        assert_eq!(
            data.keys().collect::<Vec<_>>(),
            ["access_token", "token.env", "token.json", "token_type"]
        );
        assert_eq!(data["token.env"].expose_secret(), "default");
        assert!(data["token.json"].expose_secret().contains(r#""access_token":"T""#));
    }

    const MAILBOX: Mailbox<'_> = Mailbox {
        secret: "support-mail",
        email: "support@example.com",
        username: "support@example.com",
        smtp: None,
        imap: None,
        pop3: None,
        mechanisms: &[],
    };
}

mod inputs {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::store::inputs;

    fn contents(data: &[(&str, &[u8])]) -> Contents {
        Contents::for_tests(Seen::new(Kind::Other, meta("u", "1")), data)
    }

    #[test]
    fn values_are_trimmed_of_line_ends() {
        let held = contents(&[("client_id", b" 1234 \r\n"), ("client_secret", b"s3cret\n")]);
        let client = inputs::client(&key("c"), &held).unwrap();
        assert_eq!(client.id.as_deref(), Some("1234"));
        assert_eq!(client.secret.unwrap().expose_secret(), "s3cret");
    }

    #[test]
    fn googles_downloaded_file_is_read_as_it_is() {
        let file = br#"{"web":{"client_id":"1234.apps","project_id":"p","client_secret":"GOCSPX-x"}}"#;
        let client = inputs::client(&key("c"), &contents(&[("client_secret.json", file)])).unwrap();
        assert_eq!(client.id.as_deref(), Some("1234.apps"));
        assert_eq!(client.secret.unwrap().expose_secret(), "GOCSPX-x");
    }

    #[test]
    fn a_file_that_is_not_googles_is_not_quoted_back() {
        let complaint = inputs::client(&key("c"), &contents(&[("client_secret.json", b"{\"hush\":1}")])).unwrap_err();
        assert!(
            complaint.contains("client_secret.json") && !complaint.contains("hush"),
            "{complaint}"
        );
    }

    #[test]
    fn a_secret_with_wrong_keys_is_told_what_was_found_and_what_is_expected() {
        let complaint = inputs::client(&key("c"), &contents(&[("clientId", b"1")])).unwrap_err();
        for part in ["helpdesk/c", "client_id", "client_secret", "found the keys clientId"] {
            assert!(complaint.contains(part), "{complaint}");
        }
    }

    #[test]
    fn a_seed_that_is_missing_empty_or_binary_is_named() {
        for (data, word) in [
            (&[("other", b"x".as_slice())][..], "no key refresh_token"),
            (&[("refresh_token", b" \n".as_slice())][..], "is empty"),
            (&[("refresh_token", b"\xff\xfe".as_slice())][..], "not one line of text"),
            (
                &[("refresh_token", b"two\nlines".as_slice())][..],
                "not one line of text",
            ),
        ] {
            let complaint = inputs::seed(&key("s"), &contents(data), "refresh_token").unwrap_err();
            assert!(complaint.contains(word), "{complaint}");
        }
    }

    #[test]
    fn fingerprints_tell_seeds_apart_and_hold_none_of_them() {
        let (one, two) = ("1//0g-first-refresh-token".into(), "1//0g-other-refresh-token".into());
        assert_ne!(inputs::fingerprint(&one), inputs::fingerprint(&two));
        assert_eq!(inputs::fingerprint(&one).0.len(), 32);
    }
}

mod spooled_answers {
    use jiff::Timestamp;
    use secrecy::ExposeSecret;

    use super::grant::{Belongs, NewGrant, StoredRetention};
    use crate::lifecycle::{Fingerprint, Generation, Lifetime, Record, Source};

    #[test]
    fn an_answer_comes_back_from_the_spool_as_it_went_in() {
        let answer = NewGrant {
            belongs: Belongs {
                namespace: "helpdesk".to_owned(),
                name: "support".to_owned(),
                uid: "u".to_owned(),
                email: "support@example.com".to_owned(),
                retention: StoredRetention::GoesWithAsset,
            },
            from: Generation(3),
            source: Source::Seed(Fingerprint("f".to_owned())),
            spent: Fingerprint("spent".to_owned()),
            record: Record {
                generation: Generation(4),
                lifetime: Some(Lifetime {
                    issued: Timestamp::UNIX_EPOCH,
                    expires: Timestamp::from_second(60).unwrap(),
                }),
                ..Record::default()
            },
            refresh_token: "refresh".into(),
            access_token: "access".into(),
            token_type: "Bearer".to_owned(),
        };
        let back = NewGrant::from_spool(&answer.to_spool()).unwrap();
        assert_eq!(
            (
                back.belongs,
                back.from,
                back.source,
                back.spent,
                back.record,
                back.token_type
            ),
            (
                answer.belongs,
                answer.from,
                answer.source,
                answer.spent,
                answer.record,
                answer.token_type
            )
        );
        assert_eq!(back.refresh_token.expose_secret(), "refresh");
        assert_eq!(back.access_token.expose_secret(), "access");
    }

    #[test]
    fn what_is_no_answer_is_refused_without_being_quoted() {
        let Err(error) = NewGrant::from_spool(&"{\"refreshToken\":\"hush\"".into()) else {
            panic!("it was taken")
        };
        assert!(!error.to_string().contains("hush"));
    }
}
