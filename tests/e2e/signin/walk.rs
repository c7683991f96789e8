//! The way that is meant: link, page, login, consent, Ready.

use std::time::{Duration, Instant};

use emailasset::api::ConditionType::{Authorized, Ready};
use serde_json::json;

use crate::support::{
    BUTTON, Browser, Rotation, SignInStage, Table, condition, generation_of, mailbox, origin, record, sign_in, text,
    wait_for,
};

#[tokio::test]
async fn a_person_opens_the_link_signs_in_and_the_asset_is_ready() {
    let stage = SignInStage::join().await;
    let waiting = stage.asset_to_sign_in("walk", &json!({})).await;
    let (ready, authorized) = (
        condition(&waiting, Ready).unwrap(),
        condition(&waiting, Authorized).unwrap(),
    );
    assert_eq!((ready.0.as_str(), ready.1.as_str()), ("False", "SignInRequired"));
    assert_eq!(
        (authorized.0.as_str(), authorized.1.as_str()),
        ("False", "SignInRequired")
    );
    let sign_in_status = sign_in(&waiting);
    let (link, callback) = (
        sign_in_status["url"].as_str().unwrap(),
        sign_in_status["callbackURL"].as_str().unwrap(),
    );
    assert!(ready.2.contains(link), "the message has the link: {}", ready.2);
    let public = format!("http://{}/", stage.pages);
    assert!(callback.starts_with(&format!("{public}callback/")), "{callback}");

    let browser = Browser::open().await;
    browser.goto(link).await;
    let page = browser.text().await;
    let server = stage.host();
    let server_host = server.split(':').next().unwrap();
    for word in [
        mailbox("walk").as_str(),
        stage.namespace.as_str(),
        "walk",
        server_host,
        "mail",
    ] {
        assert!(page.contains(word), "the page names {word}: {page}");
    }
    browser.screenshot("sign-in-page").await;
    browser.click(BUTTON).await;
    browser.wait_for_url(&stage.server.endpoints.url).await;
    let hint = browser.find("input[name=login]").await.prop("value").await.unwrap();
    assert_eq!(hint, Some(mailbox("walk")), "the provider is told who shall sign in");
    browser.sign_in_as(&mailbox("walk")).await;
    browser.consent().await;
    let end = browser.wait_for_url(&public).await;
    assert!(
        !end.as_str().contains("code="),
        "the code does not stay in the address bar: {}",
        end.path()
    );
    browser.wait_for_text(&mailbox("walk")).await;
    browser.screenshot("sign-in-done").await;

    let ready = stage.wait_until_ready("walk").await;
    stage.assert_token_works("walk").await;
    let grant = ready.status.unwrap().grant.unwrap();
    assert_eq!(grant.account, Some(mailbox("walk")));
    assert!(grant.grant_time.is_some());
    assert_eq!(grant.generation, Some(1));

    let asked = stage.server.authorization_requests().await;
    let asked = asked
        .iter()
        .find(|asked| asked.parameters.get("login_hint") == Some(&mailbox("walk")));
    let asked = &asked.expect("the browser brought a request").parameters;
    assert_eq!(asked["redirect_uri"], callback);
    assert_eq!(
        (asked["response_type"].as_str(), asked["code_challenge_method"].as_str()),
        ("code", "S256")
    );
    assert!(
        asked["state"].len() >= 22 && asked["nonce"].len() >= 22,
        "they cannot be guessed"
    );
    let exchanges = stage.token_requests(&mailbox("walk"), "authorization_code").await;
    assert_eq!(exchanges.len(), 1);
    assert!(exchanges[0].parameters.contains_key("code_verifier"));
}

#[tokio::test]
async fn the_pages_are_for_this_browser_alone_and_load_nothing_from_elsewhere() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("headers", &json!({})).await;
    let answer = reqwest::get(stage.link("headers").await).await.unwrap();
    assert!(answer.status().is_success());
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned()
    };
    assert!(header("cache-control").contains("no-store"));
    assert_eq!(header("referrer-policy"), "no-referrer");
    let policy = header("content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(
        !policy.contains("unsafe-inline") && !policy.contains("script-src"),
        "{policy}"
    );
    let page = answer.text().await.unwrap();
    assert!(!page.contains("<script") && !page.contains("https://fonts"), "{page}");
}

#[tokio::test]
async fn a_grant_that_rotates_and_one_that_does_not_are_refreshed_from_then_on() {
    let stage = SignInStage::alone("rotations").await;
    for (asset, rotation) in [("stays", Rotation::None), ("rotates", Rotation::Strict)] {
        stage.server.set_rotation(rotation).await;
        let spec = json!({"oauth2": {"rotation": format!("{rotation:?}")}});
        stage.asset_to_sign_in(asset, &spec).await;
        stage.sign_in_well(asset).await;
        for (round, generation) in [("first", 2), ("second", 3)] {
            stage.request_refresh(asset, round).await;
            stage.wait_for_generation(asset, generation).await;
            stage.assert_token_works(asset).await;
        }
        let grant = stage
            .server
            .introspect(&stage.access_token(asset).await)
            .await
            .grant_id
            .unwrap();
        let counters = stage.server.counters_of(&grant).await;
        assert_eq!(
            (
                counters.answered_with_token,
                counters.max_overlapping,
                counters.killed_by_replay
            ),
            (2, 1, 0)
        );
    }
}

#[tokio::test]
async fn signing_in_again_swaps_both_tokens() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("again", &json!({})).await;
    stage.sign_in_well("again").await;
    let before = stage
        .server
        .introspect(&stage.access_token("again").await)
        .await
        .grant_id
        .unwrap();

    stage.sign_in(&Browser::open().await, "again", &mailbox("again")).await;
    let token = stage.wait_for_generation("again", 2).await;
    let kept = stage.secrets.get("again-grant").await.unwrap();
    assert_eq!(generation_of(&kept), Some(2));
    assert_eq!(text(&kept, "access_token"), text(&token, "access_token"));
    let [refresh, access] = [text(&kept, "refresh_token"), text(&token, "access_token")];
    let (refresh, access) = (
        stage.server.introspect(&refresh).await,
        stage.server.introspect(&access).await,
    );
    assert!(refresh.active && access.active, "{refresh:?} {access:?}");
    assert_eq!(refresh.grant_id, access.grant_id, "both belong to one sign-in");
    assert_ne!(access.grant_id.as_deref(), Some(before.as_str()), "the new one");
    stage.wait_until_ready("again").await;
}

#[tokio::test]
async fn a_shared_mailbox_is_opened_by_the_account_that_the_spec_names() {
    let stage = SignInStage::join().await;
    stage.server.add_person("jane@example.com").await;
    stage
        .asset_to_sign_in("shared", &json!({"oauth2": {"loginEmail": "jane@example.com"}}))
        .await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "shared", "jane@example.com").await;
    let asset = stage.wait_until_ready("shared").await;
    assert_eq!(
        asset.status.unwrap().grant.unwrap().account.as_deref(),
        Some("jane@example.com")
    );
}

#[tokio::test]
async fn an_id_token_signed_with_es256_proves_the_account_too() {
    let stage = SignInStage::alone("es256").await;
    let waiting = stage.asset_to_sign_in("elliptic", &json!({})).await;
    let callback = sign_in(&waiting)["callbackURL"].as_str().unwrap().to_owned();
    let algorithm = json!({"id_token_signed_response_alg": "ES256"});
    stage.register_callback_and(&callback, &algorithm).await;
    stage.sign_in_well("elliptic").await;
}

/// The goal of issue 4. A few rounds in every run, to see that it stays so; twenty in `make soak`, written down.
#[tokio::test]
async fn from_consent_to_ready_it_takes_less_than_two_seconds() {
    let stage = SignInStage::alone("speed").await;
    let soak = std::env::var_os("EMAILASSET_SOAK").is_some();
    let mut times = Vec::new();
    for round in 0..if soak { 20 } else { 3 } {
        let asset = format!("speed-{round}");
        stage.asset_to_sign_in(&asset, &json!({})).await;
        let browser = Browser::open().await;
        stage.log_in(&browser, &asset, &mailbox(&asset)).await;
        let ready = wait_for(&stage.assets, &asset, "it is Ready", |asset| {
            condition(asset, Ready).is_some_and(|ready| ready.0 == "True")
        });
        let started = Instant::now();
        // The click returns when the next page is there, so the two are watched at the same time.
        let (time, ()) = tokio::join!(
            async {
                ready.await;
                started.elapsed()
            },
            browser.consent()
        );
        assert!(
            stage
                .secrets
                .get_opt(&format!("{asset}-token"))
                .await
                .unwrap()
                .is_some()
        );
        times.push(time);
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    if soak {
        record_speed(&times, median);
        assert!(median < Duration::from_secs(2), "{times:?}");
    } else {
        // Ten times the goal: other tests run on the same cores.
        assert!(median < Duration::from_secs(20), "{times:?}");
    }
}

fn record_speed(times: &[Duration], median: Duration) {
    let seconds = |time: Duration| format!("{:.2}", time.as_secs_f64());
    let mut table = Table::new(&["sign-ins", "fastest, s", "median, s", "slowest, s"]);
    let (first, last) = (
        times.first().copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default(),
    );
    table.row([times.len().to_string(), seconds(first), seconds(median), seconds(last)]);
    let body = format!(
        "From the click on the provider's consent button to `Ready=True` with the token in the Secret, in headless Chromium; goal: a median under 2 s.\n\n{}",
        table.to_markdown()
    );
    record("From consent to Ready", &body);
}

#[tokio::test]
async fn the_callback_of_all_assets_at_one_provider_is_the_same_and_of_another_provider_another() {
    let stage = SignInStage::join().await;
    let callback = |asset: &emailasset::api::EmailAsset| sign_in(asset)["callbackURL"].as_str().unwrap().to_owned();
    let one = callback(&stage.asset_to_sign_in("callback-one", &json!({})).await);
    let two = callback(&stage.asset_to_sign_in("callback-two", &json!({})).await);
    assert_eq!(one, two);
    let evil = json!({"oauth2": {"tokenURL": format!("{}/another-token-endpoint", stage.server.endpoints.url)}});
    stage
        .apply(&stage.sign_in_manifest("callback-evil", "AuthorizationCode", &evil))
        .await;
    let evil = wait_for(&stage.assets, "callback-evil", "it has a callback", |asset| {
        sign_in(asset)["callbackURL"].is_string()
    });
    assert_ne!(callback(&evil.await), one, "it would receive the codes of the other");
    assert_eq!(origin(&one), format!("http://{}/", stage.pages));
}
