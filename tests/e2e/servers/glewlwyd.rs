//! glewlwyd, whose errors are a status and nothing more: what it means must come out of how often it comes.

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed};
use serde_json::json;

use super::{Promise, failure_of};
use crate::support::{Glewlwyd, Reuse, SharedStage, condition, mailbox, text};

#[tokio::test]
#[ignore = "needs glewlwyd: make test-servers"]
async fn an_error_without_a_word_is_tried_again_and_then_an_admins_matter_but_wakes_no_owner() {
    let stage = SharedStage::join().await;
    let server = Glewlwyd::start(&mailbox("wordless"), Reuse::Allowed).await;
    settle(&stage, &server, "wordless", "None").await;
    let good = stage.refresh_answered("wordless", "works").await;
    assert_eq!(condition(&good, Refreshed).unwrap().1, "Refreshed");

    let mut client = server.client();
    let secret = std::mem::replace(&mut client["client_secret"], json!("not-the-secret-of-the-client"));
    stage.put_secret_for(server.host(), "wordless-client", &client).await;
    for attempt in 1..=5 {
        let asset = stage.refresh_answered("wordless", &format!("wrong-{attempt}")).await;
        let failure = failure_of(&asset);
        assert_eq!(
            (failure.class.as_deref(), failure.code.as_deref()),
            (Some("RETRY"), Some("empty")),
            "{failure:?}"
        );
        assert_eq!(condition(&asset, Refreshed).unwrap().1, "Retrying");
        assert!(failure.next_attempt_time.is_some());
    }
    let asset = stage.refresh_answered("wordless", "wrong-6").await;
    let promise = Promise {
        kind: Refreshed,
        reason: "RequestRejected",
        class: "BUG",
        says: &["the grant may have ended, the client may be wrong", "Look into the log"],
    };
    promise.assert_kept(&asset);
    assert_eq!(
        condition(&asset, Authorized).unwrap().0,
        "True",
        "nobody has to sign in"
    );
    assert_eq!(
        condition(&asset, Ready).unwrap().0,
        "True",
        "the published token lives on"
    );

    client["client_secret"] = secret;
    stage.put_secret_for(server.host(), "wordless-client", &client).await;
    let good = stage.refresh_answered("wordless", "right-again").await;
    assert_eq!(condition(&good, Refreshed).unwrap().1, "Refreshed");
}

#[tokio::test]
#[ignore = "needs glewlwyd: make test-servers"]
async fn tokens_for_one_use_follow_each_other() {
    let stage = SharedStage::join().await;
    let server = Glewlwyd::start(&mailbox("one-use"), Reuse::Forbidden).await;
    let seed = settle(&stage, &server, "one-use", "Strict").await;
    for value in ["first", "second"] {
        let asset = stage.refresh_answered("one-use", value).await;
        assert_eq!(condition(&asset, Refreshed).unwrap().1, "Refreshed", "{asset:#?}");
    }
    assert_ne!(text(&stage.secret("one-use-grant").await, "refresh_token"), seed);
    let (status, body) = server.redeem(&seed).await;
    assert_eq!((status.as_u16(), body.as_str()), (400, ""));
    // That has ended the grant, and nothing says so.
    let asset = stage.refresh_answered("one-use", "after-the-replay").await;
    assert_eq!(condition(&asset, Refreshed).unwrap().1, "Retrying");
    assert_eq!(condition(&asset, Authorized).unwrap().0, "True");
}

/// An asset that is Ready; its seed.
async fn settle(stage: &SharedStage, server: &Glewlwyd, asset: &str, rotation: &str) -> String {
    let seed = server.sign_in(&mailbox(asset)).await;
    let client = format!("{asset}-client");
    stage.put_secret_for(server.host(), &client, &server.client()).await;
    stage
        .put_secret_for(server.host(), &format!("{asset}-seed"), &json!({"refresh_token": seed}))
        .await;
    let oauth2 = json!({"tokenURL": server.token_url(), "clientCredentialsRef": {"name": client}});
    stage
        .apply(&stage.manifest(asset, rotation, &json!({"oauth2": oauth2})))
        .await;
    stage.wait_until_ready(asset).await;
    seed
}
