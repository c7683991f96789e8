//! Keycloak, whose answers to a dead refresh token differ by how it died.

use std::time::Duration;

use emailasset::api::ConditionType::{Authorized, Ready, Refreshed};
use emailasset::api::{ConditionType, EmailAsset};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Promise, failure_of};
use crate::support::{Realm, SharedStage, condition, generation_of, mailbox, text, until, wait_for};

const OFFLINE: &str = "openid offline_access";
/// Without the scope for offline tokens: the grant is the session of a browser.
const ONLINE: &str = "openid";

/// A mailbox in a realm of its own, and its asset, which is Ready.
struct Mailbox {
    stage: SharedStage,
    realm: Realm,
    asset: &'static str,
    seed: String,
}

impl Mailbox {
    async fn settle(asset: &'static str, settings: &Value, scope: &str, rotation: &str) -> Self {
        let stage = SharedStage::join().await;
        let realm = Realm::with(settings).await;
        realm.add_user(&mailbox(asset)).await;
        let client = format!("{asset}-client");
        stage.put_secret_for(realm.host(), &client, &realm.client()).await;
        let spec = json!({
            "provider": "keycloak",
            "oauth2": {"tokenURL": realm.token_url(), "clientCredentialsRef": {"name": client}},
        });
        let mut mailbox = Self {
            stage,
            realm,
            asset,
            seed: String::new(),
        };
        mailbox.sign_in(scope).await;
        let manifest = mailbox.stage.manifest(asset, rotation, &spec);
        mailbox.stage.apply(&manifest).await;
        mailbox.stage.wait_until_ready(asset).await;
        mailbox.assert_token_works().await;
        mailbox
    }

    /// The owner signs in and puts the new refresh token where the operator finds it.
    async fn sign_in(&mut self, scope: &str) {
        self.seed = self.realm.sign_in(&self.address(), scope).await;
        let seed = json!({"refresh_token": self.seed});
        self.stage
            .put_secret_for(self.realm.host(), &format!("{}-seed", self.asset), &seed)
            .await;
    }

    fn address(&self) -> String {
        mailbox(self.asset)
    }

    /// Asks for a refresh; the asset as it is once that was answered.
    async fn refresh(&self, value: &str) -> EmailAsset {
        self.stage.refresh_answered(self.asset, value).await
    }

    /// Asks for a refresh that must work; what is published then is good at the server.
    async fn refreshes(&self, value: &str) -> EmailAsset {
        let asset = self.refresh(value).await;
        let refreshed = condition(&asset, Refreshed).unwrap();
        assert_eq!(refreshed.0, "True", "{refreshed:?}");
        self.assert_token_works().await;
        asset
    }

    async fn assert_token_works(&self) {
        let token = self.stage.access_token(self.asset).await;
        assert!(
            self.realm.is_active(&token).await,
            "Keycloak does not know the published token"
        );
    }

    /// The refresh token that the operator keeps.
    async fn kept_refresh_token(&self) -> String {
        text(
            &self.stage.secret(&format!("{}-grant", self.asset)).await,
            "refresh_token",
        )
    }

    /// Keycloak compares whole seconds: its not-before, and the last refresh, spare what was issued in that second.
    async fn pass_the_second_of_issue(&self) {
        let token = self
            .stage
            .assets
            .get(self.asset)
            .await
            .unwrap()
            .status
            .unwrap()
            .token
            .unwrap();
        let issued = token.issue_time.unwrap().0.as_second();
        until("the second of issue is over", || async {
            (Timestamp::now().as_second() > issued).then_some(())
        })
        .await;
    }

    async fn suspend(&self, suspend: bool) {
        self.stage
            .assets
            .patch(
                self.asset,
                &PatchParams::default(),
                &Patch::Merge(&json!({"spec": {"suspend": suspend}})),
            )
            .await
            .expect("the change is accepted");
    }

    async fn wait_for(&self, kind: ConditionType, status: &str, reason: &str) -> EmailAsset {
        self.stage.wait_for_condition(self.asset, kind, status, reason).await
    }
}

/// Where an admin must act, and nobody has to sign in.
fn admins(reason: &'static str, says: &'static [&'static str]) -> Promise {
    Promise {
        kind: Refreshed,
        reason,
        class: "ADMIN_CONFIG",
        says,
    }
}

/// Where the owner of the mailbox signs in again.
fn owners(reason: &'static str, says: &'static [&'static str]) -> Promise {
    Promise {
        kind: Authorized,
        reason,
        class: "REAUTH",
        says,
    }
}

fn grant_ends(asset: &EmailAsset) -> Option<Timestamp> {
    Some(asset.status.as_ref()?.grant.as_ref()?.expiration_time.as_ref()?.0)
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn an_offline_token_has_no_end_and_outlives_the_sessions_of_its_owner() {
    let mailbox = Mailbox::settle("offline", &json!({}), OFFLINE, "Soft").await;
    let asset = mailbox.refreshes("first").await;
    assert_eq!(grant_ends(&asset), None, "refresh_expires_in 0 is no end");
    assert_eq!(condition(&asset, Authorized).unwrap().1, "Stored");
    mailbox.realm.end_sessions(&mailbox.address()).await;
    mailbox.refreshes("after-the-sessions-have-ended").await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn without_revoke_refresh_token_an_older_one_goes_on_being_good() {
    let mailbox = Mailbox::settle("reused", &json!({}), OFFLINE, "Soft").await;
    mailbox.refreshes("first").await;
    assert_ne!(mailbox.kept_refresh_token().await, mailbox.seed, "there is a new one");
    let (status, answer) = mailbox.realm.redeem(&mailbox.seed).await;
    assert!(status.is_success(), "{answer}");
    mailbox.refreshes("after-another-has-used-the-first-one").await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn with_revoke_refresh_token_each_is_used_once_and_a_second_holder_ends_the_grant() {
    let settings = json!({"revokeRefreshToken": true, "refreshTokenMaxReuse": 0});
    let mut mailbox = Mailbox::settle("used-once", &settings, OFFLINE, "Strict").await;
    // What was issued in the second of the last refresh is no replay to it.
    mailbox.pass_the_second_of_issue().await;
    mailbox.refreshes("first").await;
    mailbox.refreshes("second").await;
    let (status, answer) = mailbox.realm.redeem(&mailbox.seed).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]),
        (400, &json!("invalid_grant")),
        "{answer}"
    );
    let asset = mailbox.refresh("after-the-replay").await;
    owners("GrantRevoked", &["used twice"]).assert_kept(&asset);
    assert_eq!(
        failure_of(&asset).next_attempt_time,
        None,
        "a refused grant is not tried again"
    );
    mailbox.sign_in(OFFLINE).await;
    mailbox.wait_for(Authorized, "True", "Stored").await;
    mailbox.refreshes("with-the-new-grant").await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn tokens_of_five_minutes_are_replaced_with_a_third_of_that_left() {
    let mailbox = Mailbox::settle("five-minutes", &json!({"accessTokenLifespan": 300}), OFFLINE, "Soft").await;
    let token = mailbox.refreshes("now").await.status.unwrap().token.unwrap();
    let (issued, expires) = (token.issue_time.unwrap().0, token.expiration_time.unwrap().0);
    let renewal = token.renewal_time.unwrap().0;
    // Keycloak counts whole seconds from a moment before ours.
    let life = expires.duration_since(issued);
    assert!((298..=300).contains(&life.as_secs()), "{life}");
    let left = expires.duration_since(renewal);
    assert!(
        left >= SignedDuration::from_secs(100) && left <= SignedDuration::from_secs(150),
        "{left}"
    );
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn short_tokens_follow_each_other_without_a_gap() {
    let mailbox = Mailbox::settle("short", &json!({"accessTokenLifespan": 60}), OFFLINE, "Soft").await;
    let first = mailbox.stage.secret("short-token").await;
    let generation: u64 = generation_of(&first).unwrap();
    let mut expires = expiry(&first);
    for next in [generation + 1, generation + 2] {
        let secret = mailbox.stage.wait_for_generation("short", next).await;
        assert!(
            Timestamp::now() < expires,
            "the former token ended before the next one was there"
        );
        expires = expiry(&secret);
        mailbox.assert_token_works().await;
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_session_that_is_used_lives_and_one_that_idles_has_expired() {
    let settings = json!({"ssoSessionIdleTimeout": 60, "accessTokenLifespan": 60});
    let mut mailbox = Mailbox::settle("session-idle", &settings, ONLINE, "Soft").await;
    // The third token is there after more than a minute: the session would have ended if nobody had used it.
    mailbox.stage.wait_for_generation("session-idle", 3).await;
    mailbox.assert_token_works().await;
    mailbox.suspend(true).await;
    let end = until("the status says when the grant ends", || async {
        grant_ends(&mailbox.stage.assets.get("session-idle").await.unwrap())
    })
    .await;
    until("that is over", || async {
        (Timestamp::now() > end + Duration::from_secs(2)).then_some(())
    })
    .await;
    mailbox.suspend(false).await;
    let asset = mailbox.refresh("after-the-pause").await;
    owners("GrantExpired", &["offline_access"]).assert_kept(&asset);
    mailbox.sign_in(OFFLINE).await;
    mailbox.wait_for(Ready, "True", "Fresh").await;
    mailbox.assert_token_works().await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn the_end_of_a_session_is_told_before_it_comes() {
    let settings = json!({"ssoSessionMaxLifespan": 60});
    let mailbox = Mailbox::settle("session-max", &settings, ONLINE, "Soft").await;
    let told = mailbox.wait_for(Authorized, "True", "GrantEnding").await;
    assert!(Timestamp::now() < grant_ends(&told).unwrap());
    let asset = wait_for(&mailbox.stage.assets, "session-max", "the grant has ended", |asset| {
        condition(asset, Authorized).is_some_and(|said| said.0 == "False")
    })
    .await;
    // In the very second of the end the refresh token still counts as active, and the session no more.
    let reason = condition(&asset, Authorized).unwrap().1;
    let reason = if reason == "GrantRevoked" {
        "GrantRevoked"
    } else {
        "GrantExpired"
    };
    owners(reason, &["offline_access"]).assert_kept(&asset);
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn an_offline_session_that_idles_has_ended() {
    let settings = json!({"offlineSessionIdleTimeout": 5});
    let mailbox = Mailbox::settle("offline-idle", &settings, OFFLINE, "Soft").await;
    mailbox.suspend(true).await;
    mailbox.realm.wait_until_no_offline_session(&mailbox.address()).await;
    mailbox.suspend(false).await;
    let asset = mailbox.refresh("after-the-pause").await;
    owners("GrantRevoked", &["Offline Session Idle"]).assert_kept(&asset);
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_disabled_user_is_an_admins_matter_and_comes_back() {
    let mailbox = Mailbox::settle("user-disabled", &json!({}), OFFLINE, "Soft").await;
    mailbox
        .realm
        .set_user(&mailbox.address(), &json!({"enabled": false}))
        .await;
    let asset = mailbox.refresh("while-disabled").await;
    admins("AccountUnusable", &["Users > the user > Enabled"]).assert_kept(&asset);
    assert_eq!(
        condition(&asset, Authorized).unwrap().0,
        "True",
        "nobody has to sign in"
    );
    mailbox
        .realm
        .set_user(&mailbox.address(), &json!({"enabled": true}))
        .await;
    mailbox.refreshes("when-enabled").await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_deleted_user_looks_like_an_ended_session() {
    let mailbox = Mailbox::settle("user-deleted", &json!({}), OFFLINE, "Soft").await;
    mailbox.realm.delete_user(&mailbox.address()).await;
    let asset = mailbox.refresh("now").await;
    owners("GrantRevoked", &["the account was deleted"]).assert_kept(&asset);
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_grant_that_is_taken_back_is_revoked() {
    let mailbox = Mailbox::settle("consent-gone", &json!({}), OFFLINE, "Soft").await;
    mailbox.realm.revoke_consent(&mailbox.address()).await;
    let asset = mailbox.refresh("now").await;
    owners("GrantRevoked", &["its owner or an admin ended it"]).assert_kept(&asset);

    let online = Mailbox::settle("session-ended", &json!({}), ONLINE, "Soft").await;
    online.realm.end_sessions(&online.address()).await;
    let asset = online.refresh("now").await;
    owners("GrantRevoked", &["offline_access"]).assert_kept(&asset);

    // Offline tokens too: the account gets a not-before time.
    let signed_out = Mailbox::settle("signed-out", &json!({}), OFFLINE, "Soft").await;
    signed_out.pass_the_second_of_issue().await;
    signed_out.realm.sign_out(&signed_out.address()).await;
    let asset = signed_out.refresh("now").await;
    owners("GrantRevoked", &["Sign out"]).assert_kept(&asset);
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_changed_client_secret_asks_nobody_to_sign_in() {
    let mut mailbox = Mailbox::settle("secret-changed", &json!({}), OFFLINE, "Soft").await;
    mailbox.realm.renew_client_secret().await;
    let asset = mailbox.refresh("with-the-old-secret").await;
    admins("ClientRejected", &["Credentials", "secret-changed-client"]).assert_kept(&asset);
    assert_eq!(
        condition(&asset, Authorized).unwrap().0,
        "True",
        "nobody has to sign in"
    );
    mailbox
        .stage
        .put_secret_for(mailbox.realm.host(), "secret-changed-client", &mailbox.realm.client())
        .await;
    mailbox.refreshes("with-the-new-secret").await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_role_that_was_taken_away_is_an_admins_matter_and_comes_back() {
    let mailbox = Mailbox::settle("role-gone", &json!({}), OFFLINE, "Soft").await;
    mailbox.realm.take_offline_role().await;
    let asset = mailbox.refresh("without-the-role").await;
    admins("PolicyBlocked", &["realm role offline_access"]).assert_kept(&asset);
    assert_eq!(
        condition(&asset, Authorized).unwrap().0,
        "True",
        "nobody has to sign in"
    );
    mailbox.realm.give_offline_role().await;
    mailbox.refreshes("with-the-role").await;
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_client_that_is_disabled_or_gone_asks_nobody_to_sign_in() {
    let mailbox = Mailbox::settle("client-gone", &json!({}), OFFLINE, "Soft").await;
    mailbox.realm.set_client(&json!({"enabled": false})).await;
    let asset = mailbox.refresh("while-disabled").await;
    admins("ClientRejected", &["it is disabled"]).assert_kept(&asset);
    mailbox.realm.delete_client().await;
    let asset = mailbox.refresh("when-deleted").await;
    admins("ClientRejected", &["There is no client"]).assert_kept(&asset);
    assert_eq!(
        condition(&asset, Authorized).unwrap().0,
        "True",
        "nobody has to sign in"
    );
}

#[tokio::test]
#[ignore = "needs Keycloak: make test-servers"]
async fn a_realm_that_is_disabled_or_gone_makes_the_endpoint_unusable() {
    let mailbox = Mailbox::settle("realm-gone", &json!({}), OFFLINE, "Soft").await;
    mailbox.realm.set(&json!({"enabled": false})).await;
    let asset = mailbox.refresh("while-disabled").await;
    admins("EndpointUnusable", &["Realm settings > Enabled"]).assert_kept(&asset);
    mailbox.realm.set(&json!({"enabled": true})).await;
    mailbox.refreshes("when-enabled").await;
    mailbox.realm.delete_realm().await;
    let asset = mailbox.refresh("when-deleted").await;
    admins("EndpointUnusable", &["Manage realms"]).assert_kept(&asset);
    assert_eq!(
        condition(&asset, Authorized).unwrap().0,
        "True",
        "nobody has to sign in"
    );
}

fn expiry(secret: &k8s_openapi::api::core::v1::Secret) -> Timestamp {
    let annotations = secret
        .metadata
        .annotations
        .as_ref()
        .expect("a token Secret has annotations");
    annotations[emailasset::api::names::EXPIRATION_TIME]
        .parse()
        .expect("a time")
}
