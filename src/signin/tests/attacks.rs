//! What others try.

use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::rig::{CODE, PUBLIC, back, keys, offer, parameter, replica, start};
use crate::provider::Authority;
use crate::signin::{
    CodeServer, Offer, SignInRefusal, SignedIn,
    browser::BrowserId,
    ended::{Ended, Outcome, Telling},
    state::{LIFE, State},
};

/// Another asset, of another provider that its owner made up.
fn evil() -> Offer {
    Offer {
        namespace: "evil".to_owned(),
        name: "trap".to_owned(),
        uid: "66666666-7777-4888-8999-000000000000".to_owned(),
        provider: "Evil".to_owned(),
        callback_key: "0123456789abcdef".to_owned(),
        issuer: Some("https://evil.example".to_owned()),
        request: Ok(Url::parse("https://evil.example/authorize?client_id=evil").unwrap()),
        ..offer()
    }
}

#[tokio::test]
async fn a_forged_or_damaged_state_is_refused() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let state = parameter(&leave, "state");
    let mut flipped = state.clone().into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let other_key = crate::signin::keys::Keys::new(&[1; 32]).unwrap();
    let made_by_others = State::begin(&offer(), &BrowserId::random(), Timestamp::now())
        .seal(&other_key)
        .unwrap();
    for forged in [
        "",
        "x",
        "%00%ff",
        state.get(..state.len() - 1).unwrap(),
        state.get(1..).unwrap(),
        &format!("{state}AAAA"),
        &String::from_utf8(flipped).unwrap(),
        &made_by_others,
        &"A".repeat(8000),
    ] {
        let path = format!("/callback/google?code={CODE}&state={forged}");
        let page = browser.get(&path).await;
        assert_eq!(
            (page.status, page.title()),
            (400, "This answer belongs to no sign-in"),
            "{forged}"
        );
    }
    let page = browser.get(&format!("/callback/google?code={CODE}")).await;
    assert_eq!(page.status, 400);
    assert!(server.desk.handed().is_empty());
}

#[tokio::test]
async fn a_replayed_state_redeems_nothing() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let _ = browser.come_back(&back(&leave, &[("code", CODE)])).await;
    let again = browser.come_back(&back(&leave, &[("code", "another code")])).await;
    assert!(again.says("used already"), "{}", again.body);
    assert_eq!(server.desk.handed().len(), 1);
}

#[tokio::test]
async fn an_expired_state_is_refused() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let cookie = browser.cookie.clone().unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::COOKIE, cookie.parse().unwrap());
    let id = BrowserId::of(&headers, &server.links).unwrap();
    let path = |state: &State| format!("/callback/google?code={CODE}&state={}", state.seal(&keys()).unwrap());
    let begun = |ago: SignedDuration| State::begin(&offer(), &id, Timestamp::now() - ago);
    let page = browser.get(&path(&begun(LIFE))).await;
    assert_eq!((page.status, page.title()), (410, "The sign-in took too long"));
    assert!(page.says(&server.page(&offer())), "its own browser gets a way back");
    let stranger = server.browser().get(&path(&begun(LIFE))).await;
    assert_eq!(stranger.title(), "The sign-in took too long");
    assert!(!stranger.says("helpdesk"), "{}", stranger.body);
    assert!(server.desk.handed().is_empty());
    // The same by the same means, in time: it is the age alone that was wrong.
    let in_time = begun(LIFE - SignedDuration::from_secs(60));
    assert_eq!(browser.come_back(&path(&in_time)).await.title(), "You are signed in");
    let _ = leave;
}

#[tokio::test]
async fn the_answer_to_another_browsers_sign_in_is_refused() {
    let server = start().await;
    let (mut attacker, mut victim) = (server.browser(), server.browser());
    // Login CSRF: the attacker consents as themselves and has the victim load the callback. And the other way round: the victim was sent to the provider with the
    // attacker's state.
    let leave = server.press(&mut attacker, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    let page = victim.get(&path).await;
    assert_eq!(
        (page.status, page.title()),
        (403, "This sign-in began in another browser")
    );
    assert!(!page.says("helpdesk") && !page.says("support@"), "{}", page.body);
    // The same while the victim has a sign-in of their own under way.
    let _ = server.press(&mut victim, &offer()).await;
    assert_eq!(victim.get(&path).await.status, 403);
    assert!(server.desk.handed().is_empty());
    // And it used nothing up.
    assert_eq!(attacker.come_back(&path).await.title(), "You are signed in");
}

#[tokio::test]
async fn a_code_of_another_asset_meets_the_wrong_verifier() {
    let server = start().await;
    let other = Offer {
        name: "sales".to_owned(),
        uid: "1f1f1f1f-1111-4222-8333-944455556666".to_owned(),
        mailbox: "sales@example.com".to_owned(),
        ..offer()
    };
    server.desk.offers(other.clone());
    let mut browser = server.browser();
    let support = server.press(&mut browser, &offer()).await;
    let sales = server.press(&mut browser, &other).await;
    // A code that the provider gave for sales, under the state of support.
    let _ = browser.come_back(&back(&support, &[("code", "code of sales")])).await;
    let [handed] = server.desk.handed().try_into().unwrap();
    assert_eq!(handed.asset, "helpdesk/support");
    let verifier = handed.verifier.into();
    assert_eq!(
        crate::signin::state::challenge(&verifier),
        parameter(&support, "code_challenge")
    );
    assert_ne!(
        parameter(&support, "code_challenge"),
        parameter(&sales, "code_challenge")
    );
}

#[tokio::test]
async fn another_providers_answer_is_refused() {
    let server = start().await;
    server.desk.offers(evil());
    let mut browser = server.browser();
    // Mix-up: the person begins at the evil asset, whose authorization URL leads on to the honest provider, whose code then arrives at its own callback.
    let leave = server.press(&mut browser, &evil()).await;
    let state = parameter(&leave, "state");
    let page = browser
        .get(&format!("/callback/google?code={CODE}&state={state}"))
        .await;
    assert_eq!(
        (page.status, page.title()),
        (400, "The answer came from another provider")
    );
    // The honest provider names itself, too, so its answer is no good at the evil callback.
    let path = back(&leave, &[("code", CODE), ("iss", "https://accounts.google.com")]);
    let page = browser.get(&path).await;
    assert_eq!(
        (page.status, page.title()),
        (400, "The answer does not name the right provider")
    );
    assert!(server.desk.handed().is_empty());
}

/// Zoho's way: the answer names the data centre of the account (`accounts-server`). A made-up answer must lead no code and no client secret anywhere.
#[tokio::test]
async fn a_code_for_another_server_of_the_provider_goes_to_none() {
    let host = |host: &str| Authority::parse(&format!("{host}:443")).unwrap();
    let zoho = Offer {
        code_server: Some(CodeServer {
            parameter: "accounts-server".to_owned(),
            asked: host("accounts.zoho.eu"),
            others: vec![(
                host("accounts.zoho.in"),
                "spec.oauth2.parameters.region to in".to_owned(),
            )],
        }),
        ..offer()
    };
    let server = start().await;
    server.desk.offers(zoho.clone());
    let press = async |named: &[&str]| {
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &zoho).await;
        let named = named.iter().map(|named| ("accounts-server", *named));
        let with: Vec<_> = [("code", CODE)].into_iter().chain(named).collect();
        (browser, back(&leave, &with))
    };
    for strangers in [
        &["https://evil.example"][..],
        &["https://accounts.zoho.eu@evil.example"],
        &["https://accounts.zoho.eu.evil.example"],
        &["https://accounts.zoho.eu:8443"],
        &["http://accounts.zoho.eu"],
        &["accounts.zoho.eu"],
        &["https://accounts.zoho.eu", "https://evil.example"],
    ] {
        let (mut browser, path) = press(strangers).await;
        let page = browser.get(&path).await;
        assert_eq!(
            page.title(),
            "The answer does not name the right provider",
            "{strangers:?}"
        );
    }
    assert!(server.desk.handed().is_empty() && server.desk.refusals().is_empty());

    let (mut browser, path) = press(&["https://accounts.zoho.in"]).await;
    let page = browser.come_back(&path).await;
    assert!(page.says("set spec.oauth2.parameters.region to in"), "{}", page.body);
    let [(_, _, noted)] = server.desk.refusals().try_into().unwrap();
    let SignInRefusal::Failed { message } = noted else {
        panic!("{noted:?}")
    };
    assert!(
        message.contains("than accounts.zoho.eu, which this asset asks"),
        "{message}"
    );
    assert!(server.desk.handed().is_empty());

    for right in [&["https://accounts.zoho.eu"][..], &["https://ACCOUNTS.zoho.eu/"], &[]] {
        let (mut browser, path) = press(right).await;
        browser.come_back(&path).await;
    }
    assert_eq!(server.desk.handed().len(), 3);
}

#[tokio::test]
async fn an_asset_that_was_pointed_elsewhere_meanwhile_gets_no_code() {
    let server = start().await;
    for change in [
        Offer {
            callback_key: "0123456789abcdef".to_owned(),
            ..offer()
        },
        Offer {
            uid: "made anew".to_owned(),
            ..offer()
        },
    ] {
        server.desk.offers(offer());
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &offer()).await;
        server.desk.offers(change);
        let page = browser.get(&back(&leave, &[("code", CODE)])).await;
        assert_eq!(
            (page.status, page.title()),
            (409, "Something has changed in the meantime")
        );
    }
    server.desk.offers(offer());
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    server.desk.withdraws("helpdesk/support");
    assert_eq!(browser.get(&back(&leave, &[("code", CODE)])).await.status, 409);
    assert!(server.desk.handed().is_empty());
}

#[tokio::test]
async fn a_link_cannot_be_made_for_another_asset_or_edition() {
    let server = start().await;
    server.desk.offers(evil());
    let (ours, mut browser) = (server.page(&evil()), server.browser());
    let tag = ours.rsplit('/').next().unwrap();
    let mut cases = vec![
        format!("/sign-in/helpdesk/support/{tag}"),
        "/sign-in/helpdesk/support/x".to_owned(),
        format!("/sign-in/none/none/{tag}"),
        format!("/sign-in/evil/trap/%00{tag}"),
        format!("/sign-in/evil/trap/%ff{tag}"),
        format!("{ours}A"),
    ];
    let renewed = Offer {
        edition: Some("2".to_owned()),
        ..offer()
    };
    cases.push(server.page(&offer()));
    server.desk.offers(renewed.clone());
    for path in &cases {
        let (seen, pressed) = (browser.get(path).await, browser.post(path, "shown=x").await);
        for page in [seen, pressed] {
            assert_eq!(
                (page.status, page.title()),
                (404, "This sign-in link is not valid"),
                "{path}"
            );
            assert!(!page.says("helpdesk") && !page.says("evil"), "{}", page.body);
        }
    }
    assert_eq!(browser.get(&server.page(&renewed)).await.status, 200);
}

#[tokio::test]
async fn another_site_cannot_press_the_button() {
    let server = start().await;
    let (page, mut browser) = (server.page(&offer()), server.browser());
    let shown = format!("shown={}", browser.get(&page).await.field("shown"));
    for headers in [
        "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n",
        "Sec-Fetch-Site: same-site\r\nOrigin: https://other.example.com\r\n",
        "Sec-Fetch-Site: cross-site\r\nOrigin: null\r\n",
        "Sec-Fetch-Site: none\r\n",
        "Sec-Fetch-Site: same-origin\r\nOrigin: https://evil.example\r\n",
        "Origin: https://evil.example\r\n",
        "Origin: https://access.example.com.evil.example\r\n",
        "Origin: http://access.example.com\r\n",
        "Origin: null\r\n",
        "",
    ] {
        let reply = browser.ask("POST", &page, headers, &shown).await;
        assert_eq!(reply.status, 403, "{headers}");
        assert_eq!((reply.header("location"), reply.header("set-cookie")), (None, None));
    }
    for headers in [
        "Sec-Fetch-Site: same-origin\r\nOrigin: null\r\n",
        "Origin: https://access.example.com\r\n",
    ] {
        let reply = browser.ask("POST", &page, headers, &shown).await;
        assert_eq!(reply.status, 303, "{headers}");
    }
}

#[tokio::test]
async fn nothing_redirects_to_a_place_that_a_request_names() {
    let server = start().await;
    let (page, mut browser) = (server.page(&offer()), server.browser());
    for path in [
        format!("{page}?next=https://evil.example&redirect_uri=https://evil.example"),
        "//evil.example/".to_owned(),
        "/callback/google?redirect_uri=https://evil.example&url=https://evil.example".to_owned(),
        "/https://evil.example".to_owned(),
        "/result/https:%2F%2Fevil.example".to_owned(),
        "/sign-in//evil.example/x/y".to_owned(),
    ] {
        let reply = browser.get(&path).await;
        assert_eq!(reply.header("location"), None, "{path}");
        assert!(!reply.says("evil.example"), "{path}: {}", reply.body);
    }
    let shown = browser.get(&page).await.field("shown");
    let body = format!("shown={shown}&redirect_uri=https://evil.example&next=https://evil.example");
    let reply = browser.post(&format!("{page}?next=https://evil.example"), &body).await;
    let leave = reply.header("location").unwrap();
    assert!(
        leave.starts_with("https://accounts.google.com/") && !leave.contains("evil"),
        "{leave}"
    );
}

#[tokio::test]
async fn an_asset_cannot_set_what_is_ours_in_the_request() {
    let server = start().await;
    let request = "https://id.example/authorize?response_type=token&redirect_uri=https%3A%2F%2Fevil.example&state=fixed&nonce=fixed&code_challenge=fixed&code_challenge_method=plain&p=b2c";
    let offer = Offer {
        request: Ok(Url::parse(request).unwrap()),
        ..offer()
    };
    server.desk.offers(offer.clone());
    let leave = server.press(&mut server.browser(), &offer).await;
    assert_eq!(parameter(&leave, "response_type"), "code");
    assert_eq!(parameter(&leave, "redirect_uri"), format!("{PUBLIC}/callback/google"));
    assert_eq!(parameter(&leave, "code_challenge_method"), "S256");
    assert_eq!(parameter(&leave, "p"), "b2c");
    assert!(
        !leave.as_str().contains("fixed") && !leave.as_str().contains("evil"),
        "{leave}"
    );
}

#[tokio::test]
async fn html_in_anything_is_text() {
    let server = start().await;
    let tag = "<img src=x onerror=alert(1)>\"'&";
    let offer = Offer {
        mailbox: tag.to_owned(),
        login: tag.to_owned(),
        provider: tag.to_owned(),
        hosts: vec![tag.to_owned()],
        scopes: vec![tag.to_owned()],
        account: Some(tag.to_owned()),
        granted: Some(Timestamp::UNIX_EPOCH),
        registered_callbacks: Some(vec![]),
        ..offer()
    };
    server.desk.offers(offer.clone());
    let mut browser = server.browser();
    let mut pages = vec![browser.get(&server.page(&offer)).await];
    server.desk.offers(Offer {
        request: Err(tag.to_owned()),
        ..offer.clone()
    });
    pages.push(browser.get(&server.page(&offer)).await);
    server.desk.offers(offer.clone());
    for result in [
        Ok(SignedIn {
            account: tag.to_owned(),
        }),
        Err(SignInRefusal::Failed {
            message: tag.to_owned(),
        }),
        Err(SignInRefusal::IdentityUnproven { why: tag.to_owned() }),
        Err(SignInRefusal::ScopeNotGranted {
            missing: vec![tag.to_owned()],
        }),
        Err(SignInRefusal::WrongAccount {
            signed_in: tag.to_owned(),
            wanted: tag.to_owned(),
        }),
    ] {
        server.desk.will_say(result);
        let leave = server.press(&mut browser, &offer).await;
        pages.push(browser.come_back(&back(&leave, &[("code", CODE)])).await);
    }
    let leave = server.press(&mut browser, &offer).await;
    let path = back(
        &leave,
        &[
            ("error", tag),
            ("error_description", tag),
            ("error_uri", "https://evil.example"),
        ],
    );
    pages.push(browser.come_back(&path).await);
    for page in pages {
        assert!(
            !page.says("<img") && !page.says("error_uri") && !page.says("evil"),
            "{}",
            page.body
        );
        super::html::assert_well_formed(&page.body);
    }
}

#[tokio::test]
async fn a_shell_command_on_a_page_cannot_be_broken_out_of() {
    let server = start().await;
    server.desk.will_say(Err(SignInRefusal::WrongAccount {
        signed_in: "jane'; rm -rf $HOME; '\"}@example.com".to_owned(),
        wanted: "support@example.com".to_owned(),
    }));
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let page = browser.come_back(&back(&leave, &[("code", CODE)])).await;
    let command = super::rig::between(&page.body, "<code>kubectl", "</code>");
    assert!(
        !command.contains(';') || !command.replace("&#34;", "").replace("&#39;", "").contains(';'),
        "{command}"
    );
    assert_eq!(command.matches("&#39;").count(), 2, "{command}");
}

#[tokio::test]
async fn a_result_is_shown_in_its_own_browser_only() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let reply = browser.get(&back(&leave, &[("code", CODE)])).await;
    let path = reply.header("location").unwrap().to_owned();
    assert!(path.len() < 1500, "{} bytes", path.len());
    let (newcomer, mut other) = (server.browser(), server.browser());
    let _ = server.press(&mut other, &offer()).await;
    for mut stranger in [newcomer, other] {
        let page = stranger.get(&path).await;
        assert_eq!((page.status, page.title()), (410, "This page can be shown no longer"));
    }
    let state = parameter(&leave, "state");
    for forged in ["x", &state, path.get("/result/".len()..path.len() - 2).unwrap()] {
        let page = browser.get(&format!("/result/{forged}")).await;
        assert_eq!(page.status, 410, "{forged}");
    }
}

#[tokio::test]
async fn a_result_ends_with_its_hour_and_fits_into_common_buffers() {
    let browser = BrowserId::random();
    let long = "\"é".repeat(4000);
    let now = Timestamp::now();
    let offer = Offer {
        mailbox: long.clone(),
        provider: long.clone(),
        ..offer()
    };
    let ended = Ended::from(SignInRefusal::Failed { message: long });
    let outcome = Outcome::new(&offer, &browser, ended, Telling::First, now);
    let sealed = outcome.seal(&keys()).unwrap();
    assert!(sealed.len() < 3500, "{}", sealed.len());
    let shown = |after: SignedDuration| Outcome::unseal(&keys(), &sealed, Some(&browser), now + after);
    assert_eq!(shown(SignedDuration::from_mins(59)), Some(outcome.clone()));
    assert_eq!(shown(SignedDuration::from_mins(60)), None);
}

#[tokio::test]
async fn a_state_tells_nothing_and_its_verifier_needs_the_browser() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    for value in [parameter(&leave, "state"), leave.to_string()] {
        let cookie = browser.cookie.as_ref().unwrap().split_once('=').unwrap().1;
        assert!(!value.contains(cookie));
    }
    let (one, other) = (BrowserId::random(), BrowserId::random());
    let state = State::begin(&offer(), &one, Timestamp::now());
    let verifier = |id: &BrowserId, key: u8| {
        use secrecy::ExposeSecret;
        let keys = crate::signin::keys::Keys::new(&[key; 32]).unwrap();
        state.verifier(&keys, id).expose_secret().to_owned()
    };
    assert_eq!(verifier(&one, 1), verifier(&one, 1));
    assert_ne!(verifier(&one, 1), verifier(&other, 1));
    assert_ne!(verifier(&one, 1), verifier(&one, 2));
}

#[tokio::test]
async fn nothing_that_can_be_printed_holds_a_secret() {
    use secrecy::ExposeSecret;
    let server = start().await;
    let id = BrowserId::random();
    let state = State::begin(&offer(), &id, Timestamp::now());
    let verifier = state.verifier(&keys(), &id);
    let printed = format!("{:?} {:?} {:?} {:?}", keys(), server.links, id, verifier);
    for secret in [id.secret(), verifier.expose_secret()] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(!printed.contains("42, 42") && !printed.contains("2a2a"), "{printed}");
}

#[tokio::test]
async fn a_cookie_of_another_form_is_not_taken() {
    let server = start().await;
    for cookie in [
        "__Host-emailasset-browser=short",
        "__Host-emailasset-browser=",
        "emailasset-browser=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let mut browser = server.browser();
        browser.cookie = Some(cookie.to_owned());
        let _ = server.press(&mut browser, &offer()).await;
        assert_ne!(browser.cookie.as_deref(), Some(cookie), "a new one is set");
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let server = start().await;
    let mut browser = server.browser();
    let page = server.page(&offer());
    let leave = server.press(&mut browser, &offer()).await;
    let came = browser.get(&back(&leave, &[("code", CODE)])).await;
    let replies = [
        browser.get(&page).await,
        browser.head(&page).await,
        browser.get("/").await,
        browser.get("/callback/google").await,
        browser.head("/callback/google").await,
        browser.ask("DELETE", &page, "", "").await,
        browser.ask("POST", &page, "", "").await,
        browser
            .ask(
                "POST",
                "/callback/google",
                "Sec-Fetch-Site: same-origin\r\n",
                "code=x&state=y",
            )
            .await,
        browser.follow(&came).await,
        came,
    ];
    for reply in replies {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{} {}", reply.status, reply.body);
        }
        let policy = reply.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "style-src 'sha256-",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let forms = if reply.body.contains("<form") || (reply.body.is_empty() && policy.contains("'self'")) {
            "form-action 'self' https:"
        } else {
            "form-action 'none'"
        };
        assert!(policy.contains(forms), "{policy}");
    }
    let posted = browser
        .ask("POST", "/callback/google", "Sec-Fetch-Site: same-origin\r\n", "code=x")
        .await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("HEAD,GET")));
}

#[tokio::test]
async fn without_tls_there_is_no_promise_of_tls() {
    let server = replica(super::rig::desk(), "http://127.0.0.1:8080", super::rig::ROOMY).await;
    let reply = server.browser().get(&server.page(&offer())).await;
    assert_eq!((reply.status, reply.header("strict-transport-security")), (200, None));
}
