//! A person signs in, or does not.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::timeout;

use super::rig::{CODE, PUBLIC, ROOMY, back, desk, offer, parameter, replica, start};
use crate::signin::{NamesIssuer, SignInRefusal, SignedIn, server::Limits, state::challenge};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

#[tokio::test]
async fn the_page_names_who_asks_for_what_where() {
    let server = start().await;
    let page = server.browser().get(&server.page(&offer())).await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.title(),
        "Let helpdesk read and send mail as support@<wbr>example.com"
    );
    for words in [
        "EmailAsset <b>support</b> in namespace <b>helpdesk</b>",
        "accounts.google.com",
        "oauth2.googleapis.com",
        "https://mail.google.com/",
        "Continue to Google",
        "Send mail as support@example.com",
    ] {
        assert!(page.says(words), "{words} in {}", page.body);
    }
    assert_eq!(page.body.matches("<button").count(), 1);
}

#[tokio::test]
async fn looking_at_the_page_starts_nothing() {
    let server = start().await;
    let mut scanner = server.browser();
    for _ in 0..3 {
        let (seen, asked) = (
            scanner.get(&server.page(&offer())).await,
            scanner.head(&server.page(&offer())).await,
        );
        assert_eq!((seen.status, asked.status), (200, 200));
        assert_eq!((seen.header("set-cookie"), asked.header("set-cookie")), (None, None));
        assert_eq!(asked.body, "");
    }
    assert!(server.desk.handed().is_empty() && server.desk.refusals().is_empty());
}

#[tokio::test]
async fn the_button_leads_to_the_provider() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    assert!(
        leave.as_str().starts_with(offer().request.unwrap().as_str()),
        "the offer's own parameters stay as they are: {leave}"
    );
    for (name, value) in [
        ("response_type", "code"),
        ("redirect_uri", "https://access.example.com/callback/google"),
        ("code_challenge_method", "S256"),
        ("client_id", "1234"),
    ] {
        assert_eq!(parameter(&leave, name), value);
    }
    assert_eq!(parameter(&leave, "code_challenge").len(), 43);
    assert!(parameter(&leave, "nonce").len() >= 22);
    let length = leave.as_str().len();
    assert!(
        length < 2000,
        "{length} bytes are more than some browsers and proxies take"
    );
}

#[tokio::test]
async fn the_cookie_is_for_our_host_over_tls_and_not_for_scripts() {
    let server = start().await;
    let (page, mut browser) = (server.page(&offer()), server.browser());
    let shown = browser.get(&page).await.field("shown");
    let reply = browser.post(&page, &format!("shown={shown}")).await;
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-emailasset-browser="), "{cookie}");
    for attribute in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn on_this_machine_alone_it_works_without_tls() {
    let server = replica(desk(), "http://localhost:8080", ROOMY).await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    assert!(browser.cookie.as_ref().unwrap().starts_with("emailasset-browser="));
    assert_eq!(
        parameter(&leave, "redirect_uri"),
        "http://localhost:8080/callback/google"
    );
    assert_eq!(
        browser.come_back(&back(&leave, &[("code", CODE)])).await.title(),
        "You are signed in"
    );
}

#[tokio::test]
async fn it_works_below_a_path() {
    let server = replica(desk(), "https://example.com/mail/access", ROOMY).await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    assert_eq!(
        parameter(&leave, "redirect_uri"),
        "https://example.com/mail/access/callback/google"
    );
    assert_eq!(
        browser.come_back(&back(&leave, &[("code", CODE)])).await.title(),
        "You are signed in"
    );
    assert_eq!(browser.get("/callback/google").await.status, 404);
}

#[tokio::test]
async fn a_consent_reaches_the_desk_with_all_that_it_needs() {
    let server = start().await;
    let given = Some(at("2026-11-01T08:00:00Z"));
    let offer = crate::signin::Offer {
        granted: given,
        ..offer()
    };
    server.desk.offers(offer.clone());
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer).await;
    let page = browser
        .come_back(&back(&leave, &[("code", CODE), ("scope", "x")]))
        .await;
    assert_eq!((page.status, page.title()), (200, "You are signed in"));
    let [handed] = server.desk.handed().try_into().unwrap();
    assert_eq!((handed.asset.as_str(), &handed.uid), ("helpdesk/support", &offer.uid));
    assert_eq!(handed.code, CODE);
    assert_eq!(handed.redirect_uri, parameter(&leave, "redirect_uri"));
    assert_eq!(handed.nonce, parameter(&leave, "nonce"));
    assert_eq!((handed.callback_key.as_str(), handed.granted), ("google", given));
    let verifier = SecretString::from(handed.verifier.clone());
    assert_eq!(challenge(&verifier), parameter(&leave, "code_challenge"));
    assert_eq!(handed.verifier.len(), 43);
}

#[tokio::test]
async fn a_sign_in_may_begin_at_one_replica_and_end_at_another() {
    let one = start().await;
    let other = replica(one.desk.clone(), PUBLIC, ROOMY).await;
    let third = replica(one.desk.clone(), PUBLIC, ROOMY).await;
    let mut browser = one.browser();
    let leave = one.press(&mut browser, &offer()).await;
    one.shutdown.cancel();
    one.task.await.unwrap();
    browser.address = other.address;
    let reply = browser.get(&back(&leave, &[("code", CODE)])).await;
    browser.address = third.address;
    assert_eq!(browser.follow(&reply).await.title(), "You are signed in");
}

#[tokio::test]
async fn head_uses_no_code_up() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    let asked = browser.head(&path).await;
    assert_eq!((asked.status, asked.body.as_str()), (200, ""));
    assert!(server.desk.handed().is_empty());
    assert_eq!(browser.come_back(&path).await.title(), "You are signed in");
}

#[tokio::test]
async fn reloading_the_last_page_sends_nothing_again() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let reply = browser.get(&back(&leave, &[("code", CODE)])).await;
    for _ in 0..3 {
        assert_eq!(browser.follow(&reply).await.title(), "You are signed in");
    }
    assert_eq!(server.desk.handed().len(), 1);
}

#[tokio::test]
async fn coming_back_twice_tells_how_it_ended() {
    let server = start().await;
    server.desk.will_say(Err(SignInRefusal::WrongAccount {
        signed_in: "jane@example.com".to_owned(),
        wanted: "support@example.com".to_owned(),
    }));
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    assert_eq!(browser.come_back(&path).await.title(), "That was another account");
    let again = browser.come_back(&path).await;
    assert_eq!(again.title(), "That was another account");
    assert!(again.says("used already"), "{}", again.body);
    assert_eq!(server.desk.handed().len(), 1);
}

#[tokio::test]
async fn coming_back_after_a_sign_in_that_worked_says_so() {
    let server = start().await;
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    assert_eq!(browser.come_back(&path).await.title(), "You are signed in");
    // What the desk stored shows in the offer; it is this browser's own sign-in, not somebody else's.
    server.desk.offers(crate::signin::Offer {
        granted: Some(at("2026-11-25T08:00:00Z")),
        ..offer()
    });
    assert_eq!(browser.come_back(&path).await.title(), "You are signed in");
}

#[tokio::test]
async fn two_requests_with_one_state_end_alike_and_redeem_once() {
    let server = start().await;
    server.desk.open.forget_permits(100);
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    let (mut one, mut other) = (browser.clone(), browser.clone());
    let both = async { tokio::join!(one.come_back(&path), other.come_back(&path)) };
    let open = async { server.desk.open.add_permits(1) };
    let ((one, other), ()) = tokio::join!(both, open);
    assert_eq!((one.title(), other.title()), ("You are signed in", "You are signed in"));
    assert_eq!(server.desk.handed().len(), 1);
}

#[tokio::test]
async fn two_tabs_share_the_browser_and_not_the_sign_in() {
    let server = start().await;
    let mut browser = server.browser();
    let first = server.press(&mut browser, &offer()).await;
    let cookie = browser.cookie.clone();
    let second = server.press(&mut browser, &offer()).await;
    assert_eq!(browser.cookie, cookie, "the first tab's sign-in can still end");
    assert_ne!(parameter(&first, "nonce"), parameter(&second, "nonce"));
    assert_ne!(
        parameter(&first, "code_challenge"),
        parameter(&second, "code_challenge")
    );
    let page = browser.come_back(&back(&first, &[("code", CODE)])).await;
    assert_eq!(page.title(), "You are signed in");
    // What the desk stored shows in the offer.
    server.desk.offers(crate::signin::Offer {
        granted: Some(at("2026-11-25T08:00:00Z")),
        ..offer()
    });
    let late = browser.come_back(&back(&second, &[("code", CODE)])).await;
    assert_eq!(late.title(), "Somebody has signed in already");
    assert_eq!(server.desk.handed().len(), 1);
}

#[tokio::test]
async fn a_sign_in_that_began_before_the_grant_in_use_is_refused_by_every_replica() {
    let one = start().await;
    let mut browser = one.browser();
    let leave = one.press(&mut browser, &offer()).await;
    one.desk.offers(crate::signin::Offer {
        granted: Some(at("2026-11-25T08:00:00Z")),
        ..offer()
    });
    let other = replica(one.desk.clone(), PUBLIC, ROOMY).await;
    browser.address = other.address;
    let page = browser.come_back(&back(&leave, &[("code", CODE)])).await;
    assert_eq!(page.title(), "Somebody has signed in already");
    assert!(one.desk.handed().is_empty());
}

#[tokio::test]
async fn who_is_signed_in_is_shown_with_a_way_to_sign_in_again() {
    let server = start().await;
    let offer = crate::signin::Offer {
        granted: Some(at("2026-11-25T06:51:00Z")),
        account: Some("jane@example.com".to_owned()),
        ..offer()
    };
    server.desk.offers(offer.clone());
    let page = server.browser().get(&server.page(&offer)).await;
    for words in [
        "Already signed in",
        "jane@example.com signed in on 25 November 2026, 06:51 UTC",
        "Sign in again at Google",
    ] {
        assert!(page.says(words), "{words} in {}", page.body);
    }
}

#[tokio::test]
async fn why_there_is_no_sign_in_is_shown_instead_of_a_button() {
    let server = start().await;
    let offer = crate::signin::Offer {
        request: Err("Secret helpdesk/client has no client_id. Whoever looks after it must add one.".to_owned()),
        ..offer()
    };
    let page = server.page(&offer);
    let mut browser = server.browser();
    let shown = browser.get(&page).await.field("shown");
    server.desk.offers(offer);
    let seen = browser.get(&page).await;
    assert!(seen.says("has no client_id") && !seen.says("<button"), "{}", seen.body);
    let pressed = browser.post(&page, &format!("shown={shown}")).await;
    assert_eq!((pressed.status, pressed.header("location")), (409, None));
}

#[tokio::test]
async fn a_callback_that_the_clients_file_does_not_list_is_printed_to_be_added() {
    let server = start().await;
    let listed = |callbacks: &[&str]| crate::signin::Offer {
        registered_callbacks: Some(callbacks.iter().map(|callback| (*callback).to_owned()).collect()),
        ..offer()
    };
    let ours = "https://access.example.com/callback/google";
    server.desk.offers(listed(&[
        "http://localhost",
        "https://access.example.com/callback/google/",
    ]));
    let page = server.browser().get(&server.page(&offer())).await;
    assert!(
        page.says(&format!("<code>{ours}</code>")) && page.says("<button"),
        "{}",
        page.body
    );
    server.desk.offers(listed(&["http://localhost", ours]));
    let page = server.browser().get(&server.page(&offer())).await;
    assert!(!page.says(ours), "{}", page.body);
}

#[tokio::test]
async fn what_changed_after_the_page_was_read_is_shown_again_before_anything_starts() {
    let server = start().await;
    let (page, mut browser) = (server.page(&offer()), server.browser());
    let shown = browser.get(&page).await.field("shown");
    server.desk.offers(crate::signin::Offer {
        hosts: vec!["evil.example".to_owned()],
        ..offer()
    });
    for body in [format!("shown={shown}"), String::new(), "shown=".to_owned()] {
        let reply = browser.post(&page, &body).await;
        assert_eq!((reply.status, reply.header("location")), (409, None));
        assert!(
            reply.says("evil.example") && reply.says("Something has changed"),
            "{}",
            reply.body
        );
    }
}

#[tokio::test]
async fn every_refusal_of_the_desk_has_its_own_page() {
    let server = start().await;
    let text = |text: &str| text.to_owned();
    for (refusal, title, words) in [
        (
            SignInRefusal::WrongAccount {
                signed_in: text("jane@example.com"),
                wanted: text("support@example.com"),
            },
            "That was another account",
            "&#34;loginEmail&#34;:&#34;jane@example.com&#34;",
        ),
        (
            SignInRefusal::OtherSubject {
                signed_in: text("support@example.com"),
            },
            "That is not the person who signed in before",
            "kubectl delete secret support-grant --namespace helpdesk",
        ),
        (
            SignInRefusal::IdentityUnproven {
                why: text("The tenant is not pinned."),
            },
            "Nothing proves who signed in",
            "The tenant is not pinned.",
        ),
        (
            SignInRefusal::ScopeNotGranted {
                missing: vec![text("https://mail.google.com/")],
            },
            "Not everything was allowed",
            "https://mail.google.com/",
        ),
        (
            SignInRefusal::NoRefreshToken,
            "The access would have ended within the hour",
            "connected apps",
        ),
        (SignInRefusal::ConsentDenied, "You did not agree", "that goes on"),
        (
            SignInRefusal::AdminConsentRequired,
            "An administrator has to agree first",
            "administrator of your organisation",
        ),
        (
            SignInRefusal::Superseded,
            "Somebody has signed in already",
            "That one stays",
        ),
        (
            SignInRefusal::CodeRefused {
                message: text("invalid_grant"),
            },
            "The sign-in took too long or was opened twice",
            "Start again",
        ),
        (
            SignInRefusal::Failed {
                message: text("Google did not take the code."),
            },
            "The sign-in did not work",
            "Google did not take the code.",
        ),
        (
            SignInRefusal::NotPossible {
                message: text("The asset is suspended."),
            },
            "Signing in is not possible at the moment",
            "The asset is suspended.",
        ),
    ] {
        server.desk.will_say(Err(refusal.clone()));
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &offer()).await;
        let page = browser.come_back(&back(&leave, &[("code", CODE)])).await;
        assert_eq!(page.title(), title);
        assert!(page.says(words), "{words} in {}", page.body);
        assert!(
            page.says(&server.page(&offer())),
            "{title}: no way back to the sign-in page"
        );
    }
    assert!(server.desk.refusals().is_empty(), "the desk knows what it said itself");
}

#[tokio::test]
async fn a_providers_no_is_noted_and_explained() {
    let server = start().await;
    for (error, description, title) in [
        ("access_denied", "", "You did not agree"),
        (
            "access_denied",
            "AADSTS90094: admin",
            "An administrator has to agree first",
        ),
        ("server_error", "", "The sign-in did not work"),
        ("new_error", "call +1 555", "Google ended the sign-in with an error"),
    ] {
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &offer()).await;
        let path = back(&leave, &[("error", error), ("error_description", description)]);
        let page = browser.come_back(&path).await;
        assert_eq!(page.title(), title);
        assert!(!page.says("555"), "{}", page.body);
    }
    let refusals = server.desk.refusals();
    assert_eq!(refusals.len(), 4);
    assert_eq!(
        refusals[0],
        ("helpdesk/support".to_owned(), offer().uid, SignInRefusal::ConsentDenied)
    );
    assert_eq!(refusals[1].2, SignInRefusal::AdminConsentRequired);
    assert!(server.desk.handed().is_empty());
}

#[tokio::test]
async fn a_slow_provider_does_not_keep_the_browser_waiting_for_ever() {
    let limits = Limits {
        answer_wait: Duration::from_millis(50),
        ..ROOMY
    };
    let server = replica(desk(), PUBLIC, limits).await;
    server.desk.open.forget_permits(100);
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    assert_eq!(browser.come_back(&path).await.title(), "This takes longer than usual");
    server.desk.open.add_permits(1);
    // The task ends by itself; coming back waits for it.
    let ended = timeout(Duration::from_secs(60), async {
        while browser.come_back(&path).await.title() != "You are signed in" {}
    });
    ended.await.unwrap();
}

#[tokio::test]
async fn a_code_is_redeemed_although_the_browser_is_gone_and_the_server_shuts_down() {
    let server = start().await;
    server.desk.open.forget_permits(100);
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let path = back(&leave, &[("code", CODE)]);
    let mut gone = browser.clone();
    // Cut off while the desk is at work: the claim is made before the first wait.
    let visit = tokio::spawn(async move { gone.get(&path).await });
    let mut second = browser.clone();
    let other = back(&leave, &[("code", CODE)]);
    timeout(Duration::from_millis(300), second.get(&other))
        .await
        .unwrap_err();
    visit.abort();
    server.shutdown.cancel();
    let mut task = server.task;
    timeout(Duration::from_millis(300), &mut task).await.unwrap_err();
    server.desk.open.add_permits(1);
    timeout(Duration::from_secs(60), task).await.unwrap().unwrap();
    assert_eq!(server.desk.handed().len(), 1);
}

#[tokio::test]
async fn an_answer_must_name_the_right_issuer_where_it_names_one() {
    for (names, issuer, found, title) in [
        (
            NamesIssuer::Perhaps,
            Some("https://id.example"),
            None,
            "You are signed in",
        ),
        (
            NamesIssuer::Perhaps,
            Some("https://id.example"),
            Some("https://id.example"),
            "You are signed in",
        ),
        (
            NamesIssuer::Perhaps,
            None,
            Some("https://id.example"),
            "You are signed in",
        ),
        (
            NamesIssuer::Always,
            Some("https://id.example"),
            Some("https://id.example"),
            "You are signed in",
        ),
        (
            NamesIssuer::Always,
            Some("https://id.example"),
            None,
            "The answer does not name the right provider",
        ),
        (
            NamesIssuer::Perhaps,
            Some("https://id.example"),
            Some("https://id.example/"),
            "The answer does not name the right provider",
        ),
        (
            NamesIssuer::Always,
            Some("https://id.example"),
            Some("https://evil.example"),
            "The answer does not name the right provider",
        ),
    ] {
        let server = start().await;
        server.desk.offers(crate::signin::Offer {
            issuer: issuer.map(str::to_owned),
            names_issuer: names,
            ..offer()
        });
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &offer()).await;
        let mut with = vec![("code", CODE)];
        with.extend(found.map(|found| ("iss", found)));
        let reply = browser.get(&back(&leave, &with)).await;
        let page = if reply.status == 303 {
            browser.follow(&reply).await
        } else {
            reply
        };
        assert_eq!(page.title(), title, "{names:?} {issuer:?} {found:?}");
        assert_eq!(server.desk.handed().len(), usize::from(title == "You are signed in"));
    }
}

#[tokio::test]
async fn an_answer_that_means_nothing_is_not_looked_into() {
    let server = start().await;
    for with in [
        &[][..],
        &[("code", "")],
        &[("code", CODE), ("error", "access_denied")],
        &[("code", &*"x".repeat(9000))],
    ] {
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &offer()).await;
        let page = browser.get(&back(&leave, with)).await;
        assert_eq!(
            (page.status, page.title()),
            (400, "The provider sent an answer that makes no sense")
        );
    }
    for twice in [
        &[("code", CODE), ("code", "other")][..],
        &[("code", CODE), ("iss", "a"), ("iss", "b")],
        &[("code", CODE), ("state", "other")],
    ] {
        let mut browser = server.browser();
        let leave = server.press(&mut browser, &offer()).await;
        assert_eq!(browser.get(&back(&leave, twice)).await.status, 400);
    }
    assert!(server.desk.handed().is_empty());
}

#[tokio::test]
async fn an_account_is_shown_on_the_last_page() {
    let server = start().await;
    server.desk.will_say(Ok(SignedIn {
        account: "jane@example.com".to_owned(),
    }));
    let mut browser = server.browser();
    let leave = server.press(&mut browser, &offer()).await;
    let page = browser.come_back(&back(&leave, &[("code", CODE)])).await;
    assert!(page.says("You signed in as jane@example.com"), "{}", page.body);
}
