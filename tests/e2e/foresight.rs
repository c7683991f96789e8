//! A grant that ends by itself is told of before.

use emailasset::api::{ConditionType::Authorized, ConditionType::Ready, EmailAsset};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::support::{Action, Fault, Rotation, Stage, Step, condition, until};

/// How long the refresh token lives, in seconds. People are told with a quarter of that left.
const LIFE: i64 = 40;

#[tokio::test]
async fn an_event_and_the_status_tell_of_a_grants_end_before_it_comes_and_once() {
    let stage = Stage::set("foresight").await;
    let mut operator = stage.operator().await;
    stage.server.set_rotation(Rotation::None).await;
    stage.seed("testing").await;
    stage
        .server
        .inject(Fault {
            times: None,
            step: Step::After,
            action: Action::Amend {
                fields: json!({"refresh_token_expires_in": LIFE}),
            },
            ..Fault::default()
        })
        .await;
    stage.apply(&stage.manifest("testing", "None", &json!({}))).await;

    let asset = stage.wait_until_ready("testing").await;
    let end = end_of_grant(&asset).expect("the status says when the grant ends");
    let granted = asset
        .status
        .as_ref()
        .unwrap()
        .grant
        .as_ref()
        .unwrap()
        .grant_time
        .as_ref()
        .unwrap()
        .0;
    assert_eq!(end.duration_since(granted).as_secs(), LIFE);
    assert_eq!(
        condition(&asset, Authorized).unwrap().1,
        "Stored",
        "it is not time to tell"
    );
    assert!(notices(&stage).await.is_empty());

    // What is known of the end stands in annotations: a restart asks for nothing.
    let asked = stage.server.counters().await.token_requests;
    operator.terminate();
    assert!(operator.wait().await.success());
    drop(operator);
    let _operator = stage.operator().await;
    let told = stage
        .wait_for_condition("testing", Authorized, "True", "GrantEnding")
        .await;
    let now = Timestamp::now();
    assert!(now < end, "{now} is not before {end}");
    assert!(
        now >= end - SignedDuration::from_secs(LIFE / 4),
        "{now} is too early for {end}"
    );
    assert_eq!(
        condition(&told, Ready).unwrap().0,
        "True",
        "the token goes on being valid"
    );
    let (_, _, message) = condition(&told, Authorized).unwrap();
    assert!(
        message.contains(&end.to_string()) && message.contains("kubectl patch secret"),
        "{message}"
    );

    let notice = until("the Event", || async { notices(&stage).await.pop() }).await;
    assert_eq!(notice.type_.as_deref(), Some("Warning"));
    assert_eq!(notice.note.as_deref(), Some(message.as_str()));

    // It is told once: the end itself changes the words of the status, and makes no other Event.
    until("the end", || async {
        let asset = stage.assets.get("testing").await.unwrap();
        condition(&asset, Authorized)?
            .2
            .contains("should have ended")
            .then_some(())
    })
    .await;
    assert_eq!(notices(&stage).await.len(), 1);
    assert_eq!(
        stage.server.counters().await.token_requests,
        asked,
        "nobody has to ask for that"
    );
}

#[tokio::test]
async fn a_suspended_asset_shows_when_its_grant_dies_of_idleness() {
    let stage = Stage::set("foresight").await;
    let _operator = stage.operator().await;
    stage.server.set_rotation(Rotation::None).await;
    stage.seed("idle").await;
    // Keycloak ends offline sessions that are idle for 30 days.
    let manifest = |suspend: bool| {
        let spec = json!({"provider": "keycloak", "suspend": suspend});
        stage.manifest("idle", "None", &spec)
    };
    stage.apply(&manifest(false)).await;
    let asset = stage.wait_until_ready("idle").await;
    assert_eq!(end_of_grant(&asset), None, "it is used");
    stage.apply(&manifest(true)).await;
    let end = until("the end of the grant", || async {
        end_of_grant(&stage.assets.get("idle").await.unwrap())
    })
    .await;
    let issued = asset.status.unwrap().token.unwrap().issue_time.unwrap().0;
    assert_eq!(end.duration_since(issued).as_hours(), 30 * 24);
}

fn end_of_grant(asset: &EmailAsset) -> Option<Timestamp> {
    Some(asset.status.as_ref()?.grant.as_ref()?.expiration_time.as_ref()?.0)
}

/// Events that tell of an end.
async fn notices(stage: &Stage) -> Vec<Event> {
    let events: Api<Event> = Api::namespaced(stage.client.clone(), &stage.namespace);
    let all = events.list(&ListParams::default()).await.expect("events can be listed");
    let tells = |event: &Event| event.reason.as_deref() == Some("GrantEnding");
    all.items.into_iter().filter(tells).collect()
}
