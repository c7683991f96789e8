//! What people, their browsers and strangers do with links, tabs and callbacks.

use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::json;
use url::Url;

use crate::support::{BUTTON, Browser, SignInStage, mailbox, sign_in};

#[tokio::test]
async fn a_link_scanner_consumes_nothing() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("scanned", &json!({})).await;
    let link = stage.link("scanned").await;
    let scanner = Client::builder().redirect(Policy::none()).build().unwrap();
    for method in [Method::HEAD, Method::GET, Method::HEAD, Method::GET] {
        let answer = scanner.request(method.clone(), &link).send().await.unwrap();
        assert!(answer.status().is_success(), "{method}: {}", answer.status());
    }
    let browser = Browser::open().await;
    let callback = callback_of(&stage, &browser, "scanned").await;
    // Some open what they see in a person's traffic, too. HEAD is answered without a look at the state.
    scanner.head(callback.clone()).send().await.unwrap();
    let answer = scanner.get(callback.clone()).send().await.unwrap();
    assert!(answer.status().is_client_error(), "{}", answer.status());
    browser.goto(callback.as_str()).await;
    stage.wait_until_ready("scanned").await;
}

#[tokio::test]
async fn reload_and_back_button_after_a_sign_in_do_no_harm() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("reload", &json!({})).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "reload", &mailbox("reload")).await;
    stage.wait_until_ready("reload").await;
    let before = stage.kept("reload").await;
    browser.reload().await;
    browser.wait_for_text(&mailbox("reload")).await;
    browser.back().await;
    browser.back().await;
    assert_eq!(stage.kept("reload").await, before);
    let exchanges = stage.token_requests(&mailbox("reload"), "authorization_code").await;
    assert_eq!(exchanges.len(), 1);
}

#[tokio::test]
async fn a_callback_is_good_once() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("replayed", &json!({})).await;
    let browser = Browser::open().await;
    let callback = callback_of(&stage, &browser, "replayed").await;
    browser.goto(callback.as_str()).await;
    stage.wait_until_ready("replayed").await;
    let before = stage.kept("replayed").await;
    for _ in 0..2 {
        browser.goto(callback.as_str()).await;
        assert!(!browser.text().await.is_empty(), "a page says so");
    }
    assert_eq!(stage.kept("replayed").await, before);
    let exchanges = stage.token_requests(&mailbox("replayed"), "authorization_code").await;
    assert_eq!(exchanges.len(), 1, "the code was sent once");
}

#[tokio::test]
async fn a_callback_in_another_browser_or_with_a_forged_state_is_refused_and_consumes_nothing() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("stolen", &json!({})).await;
    let browser = Browser::open().await;
    let callback = callback_of(&stage, &browser, "stolen").await;

    // A login CSRF is this: somebody is made to open the callback of another's sign-in.
    let other = browser.beside().await;
    other.goto(callback.as_str()).await;
    other.screenshot("sign-in-other-browser").await;
    stage.open_login(&other, "stolen").await;
    other.goto(callback.as_str()).await;

    browser.goto(forged(&callback, |state| flip(&state)).as_str()).await;
    browser.goto(forged(&callback, |_| String::new()).as_str()).await;
    assert_eq!(stage.kept("stolen").await, [None, None]);
    assert_eq!(
        stage
            .token_requests(&mailbox("stolen"), "authorization_code")
            .await
            .len(),
        0
    );

    browser.goto(callback.as_str()).await;
    stage.wait_until_ready("stolen").await;
}

#[tokio::test]
async fn a_code_of_one_asset_is_no_good_for_another() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("mine", &json!({})).await;
    stage.asset_to_sign_in("theirs", &json!({})).await;
    let mine = Browser::open().await;
    let theirs = mine.beside().await;
    let code = callback_of(&stage, &theirs, "theirs").await;
    let callback = callback_of(&stage, &mine, "mine").await;
    // My browser and my state, with their code.
    let code = code
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap()
        .1
        .into_owned();
    mine.goto(replaced(&callback, "code", |_| code).as_str()).await;
    stage.wait_for_event("mine", "SignInFailed").await;
    assert_eq!(
        stage.kept("mine").await,
        [None, None],
        "PKCE binds a code to the browser that asked for it"
    );
}

#[tokio::test]
async fn two_tabs_end_with_one_grant_and_a_page_each() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("tabs", &json!({})).await;
    let browser = Browser::open().await;
    stage.log_in(&browser, "tabs", &mailbox("tabs")).await;
    let first = browser.open_tab().await;
    // Logged in already, so the second tab goes to the consent page at once.
    browser.goto(&stage.link("tabs").await).await;
    browser.click(BUTTON).await;
    stage.consent(&browser, "tabs").await;
    stage.wait_until_ready("tabs").await;
    let before = stage.kept("tabs").await;
    browser.switch_to(&first).await;
    let page = stage.consent(&browser, "tabs").await;
    assert!(!page.is_empty());
    assert_eq!(
        stage.kept("tabs").await,
        before,
        "the sign-in that began before the grant is older than it"
    );
    stage.assert_token_works("tabs").await;
}

#[tokio::test]
async fn a_new_value_of_the_annotation_makes_a_new_link_and_ends_the_old_one() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("renewed", &json!({})).await;
    let old = stage.link("renewed").await;
    stage.request_sign_in("renewed", "2026-11-25").await;
    let asset = stage.wait_for_link("renewed", |link| link != old).await;
    let handled = asset.status.as_ref().unwrap().handled_requests.as_ref().unwrap();
    assert_eq!(handled.sign_in.as_deref(), Some("2026-11-25"));
    assert_ne!(sign_in(&asset)["url"], json!(old));

    let browser = Browser::open().await;
    browser.goto(&old).await;
    browser.screenshot("sign-in-old-link").await;
    assert!(!browser.has(BUTTON).await, "{}", browser.text().await);
    stage.sign_in(&browser, "renewed", &mailbox("renewed")).await;
    stage.wait_until_ready("renewed").await;
}

#[tokio::test]
async fn a_link_rebuilt_for_another_asset_opens_nothing() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("link-one", &json!({})).await;
    stage.asset_to_sign_in("link-two", &json!({})).await;
    let rebuilt = stage.link("link-one").await.replace("link-one", "link-two");
    let answer = reqwest::get(&rebuilt).await.unwrap();
    assert!(answer.status().is_client_error(), "{}", answer.status());
    assert!(
        !answer.text().await.unwrap().contains(&mailbox("link-two")),
        "and it tells nothing"
    );
}

#[tokio::test]
async fn a_button_on_another_site_starts_nothing() {
    let stage = SignInStage::join().await;
    stage.asset_to_sign_in("foreign", &json!({})).await;
    let browser = Browser::open().await;
    browser.goto(&stage.link("foreign").await).await;
    let action = browser.find("form").await.prop("action").await.unwrap().unwrap();
    // The same form, sent from another origin without the page's cookie.
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let answer = client
        .post(&action)
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_client_error(), "{}", answer.status());
}

/// Goes through a sign-in up to the consent; the address that the provider sends the browser to, which it has not opened.
async fn callback_of(stage: &SignInStage, browser: &Browser, asset: &str) -> Url {
    stage.stop_at_callback(browser, asset, &mailbox(asset)).await
}

fn forged(callback: &Url, change: impl FnOnce(String) -> String) -> Url {
    replaced(callback, "state", change)
}

fn replaced(callback: &Url, parameter: &str, change: impl FnOnce(String) -> String) -> Url {
    let mut change = Some(change);
    let pairs: Vec<(String, String)> = callback.query_pairs().into_owned().collect();
    let mut url = callback.clone();
    url.query_pairs_mut()
        .clear()
        .extend_pairs(pairs.into_iter().map(|(name, value)| {
            let value = match change.take_if(|_| name == parameter) {
                Some(change) => change(value),
                None => value,
            };
            (name, value)
        }));
    url
}

/// The same text with one letter in the middle changed.
fn flip(text: &str) -> String {
    let middle = text.len() / 2;
    let changed = text.char_indices().map(|(at, letter)| match (at == middle, letter) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, letter) => letter,
    });
    changed.collect()
}
