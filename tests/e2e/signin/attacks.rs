//! What others try by means of a person's browser, an asset of their own, or a provider of their own.

use emailasset::api::ConditionType::Authorized;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use url::Url;

use crate::support::{
    Action, AuthorizationServer, BUTTON, Browser, CLIENT, Fault, Match, SignInStage, Twist, mailbox, sign_in,
};

/// Sets something that can be asked for, if it is ever run.
const SCRIPT: &str = "<script>owned=1</script>";
const IMAGE: &str = "<img/src=x/onerror=owned=1>";

#[tokio::test]
async fn html_in_a_spec_is_refused_or_shown_as_text() {
    let stage = SignInStage::join().await;
    for mailbox in [
        format!("{SCRIPT}@example.com"),
        format!("a{IMAGE}@example.com"),
        "a@example.com<b>".to_owned(),
        "\"<b>\"@example.com".to_owned(),
    ] {
        let manifest = stage.sign_in_manifest("html-mailbox", "AuthorizationCode", &json!({"email": mailbox}));
        let applied = stage
            .assets
            .patch("html-mailbox", &PatchParams::apply("person"), &Patch::Apply(&manifest))
            .await;
        let refused = applied.expect_err("is no mailbox").to_string();
        assert!(refused.contains("spec.email"), "{refused}");
    }

    // A login name and a scope may be nearly anything.
    let login = format!("{IMAGE}@example.com");
    let spec = json!({"oauth2": {"loginEmail": login, "scopes": ["mail", "offline_access", SCRIPT]}});
    stage.asset_to_sign_in("html-spec", &spec).await;
    let browser = Browser::open().await;
    browser.goto(&stage.link("html-spec").await).await;
    assert_is_text(&browser, &[&login, SCRIPT]).await;
    browser.click(BUTTON).await;
    browser.wait_for_url(&stage.server.endpoints.url).await;
    browser.sign_in_as(&mailbox("html-spec")).await;
    stage.consent(&browser, "html-spec").await;
    browser.wait_for_text("That was another account").await;
    assert_is_text(&browser, &[&login]).await;
    drop(browser);

    let scope = json!({"oauth2": {"scopes": ["mail", "offline_access", SCRIPT]}});
    stage.asset_to_sign_in("html-scope", &scope).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "html-scope", &mailbox("html-scope")).await;
    browser.wait_for_text("Not everything was allowed").await;
    assert_is_text(&browser, &[SCRIPT]).await;
}

#[tokio::test]
async fn html_from_a_provider_is_dropped_or_shown_as_text() {
    let stage = SignInStage::join().await;

    // In the name of an account that is none.
    stage.asset_to_sign_in("html-claim", &json!({})).await;
    let claims = json!({"email": format!("{IMAGE}@example.com"), "preferred_username": SCRIPT, "name": SCRIPT});
    let account = mailbox("html-claim");
    stage.server.twist_for(&account, Twist::IdTokenClaims(&claims)).await;
    stage.server.twist_for(&account, Twist::UserinfoClaims(&claims)).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "html-claim", &account).await;
    browser.wait_for_text("Nothing proves who signed in").await;
    assert_is_text(&browser, &[IMAGE]).await;
    drop(browser);

    // In the name of an account that is one, and an address.
    let account = "a&lt;b&gt;&amp;'@example.com";
    stage.server.add_person(account).await;
    stage.asset_to_sign_in("html-account", &json!({})).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "html-account", account).await;
    browser.wait_for_text("That was another account").await;
    assert_is_text(&browser, &[account]).await;
    drop(browser);

    // In what the token endpoint says.
    stage.asset_to_sign_in("html-words", &json!({})).await;
    let words = json!({"error": "invalid_client", "error_description": format!("{IMAGE} {SCRIPT}")});
    stage.server.inject(no_to_the_code("html-words", 401, &words)).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "html-words", &mailbox("html-words")).await;
    browser.wait_for_text("The sign-in did not work").await;
    assert_is_text(&browser, &[IMAGE, SCRIPT]).await;
    drop(browser);

    // In what the browser brings back instead of a code.
    stage.asset_to_sign_in("html-error", &json!({})).await;
    let browser = Browser::open().await;
    let callback = stage
        .stop_at_callback(&browser, "html-error", &mailbox("html-error"))
        .await;
    let mut answer = with(&callback, "code", None);
    answer
        .query_pairs_mut()
        .append_pair("error", SCRIPT)
        .append_pair("error_description", IMAGE)
        .append_pair("error_uri", "javascript:owned=1");
    browser.goto(answer.as_str()).await;
    let page = browser.wait_for_text("ended the sign-in with an error").await;
    assert!(!page.contains("owned"), "{page}");
    assert_is_text(&browser, &[]).await;
}

#[tokio::test]
async fn a_code_that_the_provider_takes_no_more_has_a_page_of_its_own() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("late-code", &json!({})).await;
    let words = json!({"error": "invalid_grant"});
    stage.server.inject(no_to_the_code("late-code", 400, &words)).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "late-code", &mailbox("late-code")).await;
    browser.wait_for_text("took too long or was opened twice").await;
    browser.screenshot("sign-in-late-code").await;
    stage
        .wait_for_condition("late-code", Authorized, "False", "SignInFailed")
        .await;
    assert_eq!(stage.kept("late-code").await, [None, None]);
}

/// RFC 9207 section 2.4. That this server always names itself stands in its metadata alone.
#[tokio::test]
async fn an_answer_without_an_issuer_is_refused_where_the_server_always_names_itself() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("nameless", &json!({})).await;
    let account = mailbox("nameless");
    stage.server.twist_for(&account, Twist::ResponseIssuer(None)).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "nameless", &account).await;
    browser.wait_for_text("does not say which provider it comes from").await;
    let exchanges = stage.token_requests(&account, "authorization_code").await;
    assert_eq!(exchanges.len(), 0, "the code is not sent on");
    assert_eq!(stage.kept("nameless").await, [None, None]);
    stage.sign_in_well("nameless").await;
}

/// RFC 9700 section 4.4: the person begins at an asset whose owner runs the provider, and is led on to an honest one, with the request of the former.
#[tokio::test]
async fn a_provider_of_an_assets_owner_receives_no_code_of_another() {
    let stage = SignInStage::join().await;
    let trap = AuthorizationServer::start().await;
    let honest = stage.asset_to_sign_in("honest", &json!({})).await;
    let honest_callback = callback_of(&honest);
    let evil = evil_asset(
        &stage,
        &trap,
        "evil",
        &trap.endpoints.authorization_url,
        &trap.endpoints.url,
    )
    .await;
    let evil_callback = callback_of(&evil);
    assert_ne!(evil_callback, honest_callback);

    let browser = Browser::open().await;
    browser.goto(&stage.link("evil").await).await;
    browser.click(BUTTON).await;
    browser.wait_for_url(&trap.endpoints.url).await;
    let asked = trap.authorization_requests().await.pop().expect("the browser came");
    // What the trap would answer: a redirect to the honest server, as the honest asset's client.
    let mut onward = Url::parse(&stage.server.endpoints.authorization_url).unwrap();
    for (name, value) in &asked.parameters {
        let value = match name.as_str() {
            "client_id" => CLIENT,
            "redirect_uri" => &honest_callback,
            _ => value,
        };
        onward.query_pairs_mut().append_pair(name, value);
    }
    browser.goto(onward.as_str()).await;
    browser.sign_in_as(&mailbox("honest")).await;
    let account = mailbox("honest");
    stage.server.twist_for(&account, Twist::StopAtServer).await;
    browser.consent().await;
    let back = stage.server.wait_for_response(&asked.parameters["state"]).await;
    assert!(back.as_str().starts_with(&honest_callback), "{back}");

    // With a good code in hand: where the honest server sends it, at the trap's own callback, and there without the honest server's name.
    browser.goto(back.as_str()).await;
    browser.wait_for_text("The answer came from another provider").await;
    let elsewhere = |url: &Url| {
        let mut moved = Url::parse(&evil_callback).unwrap();
        moved.set_query(url.query());
        moved
    };
    browser.goto(elsewhere(&back).as_str()).await;
    browser.wait_for_text("does not name the right provider").await;
    browser.goto(elsewhere(&with(&back, "iss", None)).as_str()).await;
    browser.wait_for_text("does not say which provider it comes from").await;

    drop(browser);

    // The honest asset's own state at the trap's callback.
    let own = Browser::open().await;
    let callback = stage.stop_at_callback(&own, "honest", &account).await;
    own.goto(elsewhere(&callback).as_str()).await;
    own.wait_for_text("The answer came from another provider").await;

    assert_eq!(trap.counters().await.token_requests, 0, "the trap sees no code");
    assert_eq!(stage.token_requests(&account, "authorization_code").await.len(), 0);
    for asset in ["honest", "evil"] {
        assert_eq!(stage.kept(asset).await, [None, None]);
    }
    own.goto(callback.as_str()).await;
    stage.wait_until_ready("honest").await;
}

/// The same with the honest server's own page, and its name claimed, and only the token endpoint in other hands.
#[tokio::test]
async fn an_honest_provider_sends_no_code_to_the_callback_of_an_evil_token_endpoint() {
    let stage = SignInStage::join().await;
    let trap = AuthorizationServer::start().await;
    stage.asset_to_sign_in("half-honest", &json!({})).await;
    let endpoints = &stage.server.endpoints;
    evil_asset(&stage, &trap, "half-evil", &endpoints.authorization_url, &endpoints.url).await;
    let browser = Browser::open().await;
    browser.goto(&stage.link("half-evil").await).await;
    browser.click(BUTTON).await;
    browser.wait_for_text("invalid_redirect_uri").await;
    assert_eq!(browser.url().await.path(), "/auth");
    assert_eq!(trap.counters().await.token_requests, 0);
    assert_eq!(stage.kept("half-evil").await, [None, None]);
}

#[tokio::test]
async fn a_victims_browser_does_not_finish_the_sign_in_of_an_attacker() {
    let stage = SignInStage::join().await;
    stage.server.add_person("mallory@example.com").await;
    stage.asset_to_sign_in("forgery", &json!({})).await;
    stage.sign_in_well("forgery").await;
    let before = stage.kept("forgery").await;
    let attacker = Browser::open().await;
    let callback = stage
        .stop_at_callback(&attacker, "forgery", "mallory@example.com")
        .await;
    drop(attacker);

    let victim = Browser::open().await;
    victim.goto(callback.as_str()).await;
    let page = victim.wait_for_text("This sign-in began in another browser").await;
    assert!(!page.contains("forgery") && !page.contains(&stage.namespace), "{page}");
    // While the victim signs in, too, so that there is a cookie; and with their state and the attacker's code.
    let own = stage.stop_at_callback(&victim, "forgery", &mailbox("forgery")).await;
    victim.goto(callback.as_str()).await;
    victim.wait_for_text("This sign-in began in another browser").await;
    assert_eq!(
        stage
            .token_requests("mallory@example.com", "authorization_code")
            .await
            .len(),
        0,
        "the attacker's code is not sent on"
    );
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1;
    victim.goto(with(&own, "code", Some(&code)).as_str()).await;
    victim.wait_for_text("took too long or was opened twice").await;
    assert_eq!(stage.kept("forgery").await, before);
    stage.assert_token_works("forgery").await;
}

/// Whether what a page shows is these texts and nothing was made of them.
async fn assert_is_text(browser: &Browser, texts: &[&str]) {
    let page = browser.text().await;
    for text in texts {
        assert!(page.contains(text), "{text} is not to be read in: {page}");
    }
    let script =
        "return [typeof owned, document.querySelectorAll('script, img, svg, iframe, object, embed, b > *').length]";
    let made = browser.driver().execute(script, Vec::new()).await.unwrap();
    assert_eq!(made, json!(["undefined", 0]), "{page}");
}

/// An asset whose token endpoint is the trap, and whose client, of the honest one's name, may be sent there.
async fn evil_asset(
    stage: &SignInStage,
    trap: &AuthorizationServer,
    asset: &str,
    authorization_url: &str,
    issuer: &str,
) -> emailasset::api::EmailAsset {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": format!("{asset}-client"),
            "annotations": {"emailasset.dev/hosts": trap.endpoints.url.trim_start_matches("https://")},
        },
        "stringData": {"client_id": CLIENT, "client_secret": "evil"},
    });
    let name = format!("{asset}-client");
    stage
        .secrets
        .patch(&name, &PatchParams::apply("person"), &Patch::Apply(&secret))
        .await
        .unwrap();
    let spec = json!({"oauth2": {
        "clientCredentialsRef": {"name": name}, "issuer": issuer,
        "authorizationURL": authorization_url, "tokenURL": trap.endpoints.token_url,
    }});
    let manifest = stage.sign_in_manifest(asset, "AuthorizationCode", &spec);
    stage.apply(&manifest).await;
    stage.wait_for_link(asset, |_| true).await
}

fn callback_of(asset: &emailasset::api::EmailAsset) -> String {
    sign_in(asset)["callbackURL"].as_str().unwrap().to_owned()
}

/// A token endpoint's answer to the code of an asset's owner.
fn no_to_the_code(asset: &str, status: u16, words: &Value) -> Fault {
    Fault {
        applies_to: Match {
            account: Some(mailbox(asset)),
            grant_type: Some("authorization_code"),
            ..Match::default()
        },
        action: Action::answer_json(status, words),
        ..Fault::default()
    }
}

/// The same address with another value of one parameter, or without it.
fn with(url: &Url, parameter: &str, value: Option<&str>) -> Url {
    let pairs = url.query_pairs().into_owned();
    let others: Vec<(String, String)> = pairs.filter(|(name, _)| name != parameter).collect();
    let mut url = url.clone();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(others)
        .extend_pairs(value.map(|value| (parameter, value)));
    url
}
