//! `kubectl emailasset authorize` with everything real: the plugin on the person's machine, their browser, the authorization server, and an operator that has no address of
//! its own in the network.

use emailasset::api::ConditionType::{Authorized, Ready};
use kube::api::ListParams;
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::person::{LIMIT, Person, SigningIn};
use crate::support::{Browser, CLIENT, Operator, Stage, condition, mailbox, sign_in, text, until};

const NOTHING: [String; 0] = [];

/// A stage on which nobody has a page to sign in at, and a person with rights in its namespace.
struct Desk {
    stage: Stage,
    person: Person,
}

impl Desk {
    async fn open(prefix: &str) -> Self {
        let stage = Stage::set(prefix).await;
        let secret = stage.secrets.get("oauth-client").await.unwrap();
        let client = json!({
            "clientId": CLIENT, "clientSecret": text(&secret, "client_secret"), "authentication": "client_secret_basic",
            // A client for desktop apps: any port of this address (RFC 8252 section 7.3).
            "application_type": "native", "redirectUris": ["http://127.0.0.1"],
        });
        stage.server.register_with(client).await;
        let person = Person::who_signs_in(stage.cluster, &stage.namespace).await;
        Self { stage, person }
    }

    /// An asset whose mailbox has an owner with an account.
    async fn asset(&self, grant: &str) {
        self.stage.server.add_person(&mailbox("support")).await;
        let manifest = self.stage.sign_in_manifest("support", grant, &json!({}));
        self.stage.apply(&manifest).await;
    }

    /// The plugin prints a link, and the owner of `account` follows it up to the consent.
    async fn begin(&self, browser: &Browser, account: &str) -> SigningIn {
        let signing_in = self.person.begin("support").await;
        browser.goto(signing_in.link.as_str()).await;
        browser.sign_in_as(account).await;
        signing_in
    }

    /// The browser knows the person by now, so the consent page comes at once.
    async fn begin_again(&self, browser: &Browser) -> SigningIn {
        let signing_in = self.person.begin("support").await;
        browser.goto(signing_in.link.as_str()).await;
        signing_in
    }

    async fn sign_in(&self, account: &str) -> SigningIn {
        let browser = Browser::open().await;
        let signing_in = self.begin(&browser, account).await;
        consent(&browser).await;
        signing_in
    }

    /// The names of what is handed over and not taken: a failing test shall print no code.
    async fn responses(&self) -> Vec<String> {
        let of_type = ListParams::default().fields("type=emailasset.dev/authorization-response");
        let all = self.stage.secrets.list(&of_type).await.unwrap();
        all.into_iter().filter_map(|secret| secret.metadata.name).collect()
    }

    async fn assert_signed_in(&self, signing_in: SigningIn) {
        let said = signing_in.ended().await;
        assert_eq!(said.code, 0, "{said:?}");
        let told = format!(
            "Signed in as {}. Secret {}/support-token holds a valid access token until ",
            mailbox("support"),
            self.stage.namespace
        );
        assert!(said.output.starts_with(&told), "{said:?}");
        let asset = self.stage.assets.get("support").await.unwrap();
        assert_eq!(condition(&asset, Ready).unwrap().0, "True");
        self.stage.assert_token_works("support").await;
        assert_eq!(self.responses().await, NOTHING, "the code does not lie about");
    }

    async fn assert_refused(&self, signing_in: SigningIn, words: &[&str]) {
        let said = signing_in.ended().await;
        assert_eq!((said.code, said.output.as_str()), (5, ""), "{said:?}");
        for word in words {
            assert!(said.errors.contains(word), "{word} is not said: {said:?}");
        }
        assert_eq!(self.responses().await, NOTHING);
    }
}

/// Consents, and sees the page of the plugin.
async fn consent(browser: &Browser) {
    browser.consent().await;
    browser.wait_for_url("http://127.0.0.1:").await;
    browser.wait_for_text("You can close this window").await;
}

#[tokio::test]
async fn a_person_signs_in_from_the_command_line_with_a_browser_and_no_ingress() {
    let desk = Desk::open("authorize").await;
    let _operator = desk.stage.operator().await;
    desk.asset("AuthorizationCode").await;
    let browser = Browser::open().await;
    let signing_in = desk.begin(&browser, &mailbox("support")).await;
    consent(&browser).await;
    browser.screenshot("plugin-done").await;
    desk.assert_signed_in(signing_in).await;
    let asset = desk.stage.assets.get("support").await.unwrap();
    assert!(sign_in(&asset)["url"].is_null(), "there is no page to sign in at");
    assert_eq!(asset.status.unwrap().grant.unwrap().account, Some(mailbox("support")));
}

#[tokio::test]
async fn the_wrong_account_is_told_at_the_command_line_and_changes_nothing() {
    let desk = Desk::open("authorize-wrong").await;
    let _operator = desk.stage.operator().await;
    desk.stage.server.add_person("eve@example.com").await;
    desk.asset("AuthorizationCode").await;
    let words = ["eve@example.com", &mailbox("support"), "loginEmail", "(WrongAccount)"];

    let first = desk.sign_in("eve@example.com").await;
    desk.assert_refused(first, &words).await;
    let [grant, token] = ["support-grant", "support-token"].map(|name| desk.stage.secrets.get_opt(name));
    assert_eq!((grant.await.unwrap(), token.await.unwrap()), (None, None));

    let right = desk.sign_in(&mailbox("support")).await;
    desk.assert_signed_in(right).await;
    let before = desk.stage.secrets.get("support-grant").await.unwrap();
    // Twice: the same refusal once more is an answer too.
    for _ in 0..2 {
        let wrong = desk.sign_in("eve@example.com").await;
        desk.assert_refused(wrong, &words).await;
    }
    assert_eq!(desk.stage.secrets.get("support-grant").await.unwrap(), before);
    desk.stage.wait_until_ready("support").await;
}

#[tokio::test]
async fn a_consent_that_is_older_than_the_sign_in_of_somebody_else_is_refused() {
    let desk = Desk::open("authorize-late").await;
    let _operator = desk.stage.operator().await;
    desk.asset("AuthorizationCode").await;
    let browser = Browser::open().await;
    let late = desk.begin(&browser, &mailbox("support")).await;
    let quick = desk.sign_in(&mailbox("support")).await;
    desk.assert_signed_in(quick).await;
    let before = desk.stage.secrets.get("support-grant").await.unwrap();

    consent(&browser).await;
    desk.assert_refused(late, &["Somebody else has signed in", "(SignInFailed)"])
        .await;
    assert_eq!(desk.stage.secrets.get("support-grant").await.unwrap(), before);
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_behind_whenever_it_is_pressed() {
    let desk = Desk::open("authorize-stop").await;
    let mut operator = desk.stage.operator().await;
    desk.asset("AuthorizationCode").await;
    let browser = Browser::open().await;
    let signing_in = desk.begin(&browser, &mailbox("support")).await;
    signing_in.press_ctrl_c();
    let said = signing_in.ended().await;
    assert_eq!((said.code, said.output.as_str()), (130, ""), "{said:?}");
    assert_eq!(desk.responses().await, NOTHING);

    let signing_in = desk.begin_again(&browser).await;
    operator.kill().await;
    consent(&browser).await;
    until("the consent is handed over", || async {
        (desk.responses().await.len() == 1).then_some(())
    })
    .await;
    signing_in.press_ctrl_c();
    let said = signing_in.ended().await;
    assert_eq!((said.code, said.output.as_str()), (130, ""), "{said:?}");
    assert_eq!(desk.responses().await, NOTHING, "the code was withdrawn");
    let _operator = desk.stage.operator().await;
    desk.stage
        .wait_for_condition("support", Authorized, "False", "SignInRequired")
        .await;
}

#[tokio::test]
async fn an_operator_that_was_down_when_the_consent_came_takes_it_later() {
    let desk = Desk::open("authorize-down").await;
    let mut operator = desk.stage.operator().await;
    desk.asset("AuthorizationCode").await;
    let browser = Browser::open().await;
    let signing_in = desk.begin(&browser, &mailbox("support")).await;
    operator.kill().await;
    consent(&browser).await;
    until("the consent is handed over", || async {
        (desk.responses().await.len() == 1).then_some(())
    })
    .await;
    let _operator = desk.stage.operator().await;
    desk.assert_signed_in(signing_in).await;
}

#[tokio::test]
async fn an_operator_that_was_killed_with_the_tokens_in_hand_goes_on_and_the_plugin_hears_of_it() {
    let desk = Desk::open("authorize-killed").await;
    for step in ["sign-in-spooled", "sign-in-stored"] {
        let first_grant = desk.stage.secrets.get_opt("support-grant").await.unwrap();
        let mut operator = desk
            .stage
            .operator_with(&[], &[("FAILPOINTS", &format!("{step}=1*return"))])
            .await;
        desk.asset("AuthorizationCode").await;
        let signing_in = desk.sign_in(&mailbox("support")).await;
        assert!(!operator.wait().await.success(), "it was to be killed at {step}");
        let _operator: Operator = desk.stage.operator().await;
        desk.assert_signed_in(signing_in).await;
        let exchanges = desk.stage.server.requests_since(0).await;
        let codes = exchanges
            .iter()
            .filter(|request| request.grant_type.as_deref() == Some("authorization_code"));
        let expected = if first_grant.is_none() { 1 } else { 2 };
        assert_eq!(codes.count(), expected, "{step}: no code is sent twice");
    }
}

#[tokio::test]
async fn where_no_browser_can_be_had_a_phone_reads_the_code_from_the_terminal() {
    let desk = Desk::open("authorize-device").await;
    let _operator = desk.stage.operator().await;
    desk.asset("DeviceCode").await;
    let mut child = desk
        .person
        .command_on_a_terminal(&["authorize", "support"])
        .spawn()
        .expect("script (util-linux) gives a terminal");
    let mut terminal = child.stdout.take().unwrap();
    let mut seen = Vec::new();
    let screen = loop {
        let read = tokio::time::timeout(LIMIT, terminal.read_buf(&mut seen)).await;
        assert_ne!(
            read.expect("a code is shown").unwrap(),
            0,
            "{}",
            String::from_utf8_lossy(&seen)
        );
        let screen = String::from_utf8_lossy(&seen).into_owned();
        // What comes after the picture.
        if screen.contains("Waiting for the sign-in") {
            break screen;
        }
    };
    let page = read_by_phone(&screen);
    assert!(
        screen.contains(&format!("  {page}\r\n")),
        "the address is there in letters too"
    );
    let (_, code) = screen.split_once("and enter the code\r\n").expect("a code");
    let code: String = code
        .lines()
        .next()
        .unwrap()
        .chars()
        .filter(|shown| shown.is_ascii_uppercase() || *shown == '-')
        .collect();
    let asset = desk.stage.assets.get("support").await.unwrap();
    assert_eq!(sign_in(&asset)["userCode"], code.as_str(), "{screen}");

    let phone = Browser::open().await;
    phone.enter_device_code(&page, &code).await;
    phone.sign_in_as(&mailbox("support")).await;
    phone.consent().await;
    let read = tokio::time::timeout(LIMIT, terminal.read_to_end(&mut seen)).await;
    read.expect("the command ends").unwrap();
    let ended = child.wait().await.unwrap();
    let screen = String::from_utf8_lossy(&seen).into_owned();
    assert_eq!(ended.code(), Some(0), "{screen}");
    assert!(
        screen.contains(&mailbox("support")) && screen.contains("holds a valid access token"),
        "{screen}"
    );
    desk.stage.assert_token_works("support").await;
}

/// What a phone's camera makes of the terminal, whose background is dark and whose letters are light.
fn read_by_phone(screen: &str) -> String {
    // Pixels for each module: a camera has more than one.
    const SIZE: usize = 4;
    let drawn: Vec<Vec<char>> = screen
        .lines()
        .map(|line| line.trim_end_matches('\r').chars().collect::<Vec<_>>())
        .filter(|line| line.len() > 20 && line.iter().all(|drawn| " ▀▄█".contains(*drawn)))
        .collect();
    let (width, height) = (drawn.first().expect("a picture").len(), drawn.len() * 2);
    let is_lit = |column: usize, row: usize| {
        let lit = if row.is_multiple_of(2) { "▀█" } else { "▄█" };
        drawn
            .get(row / 2)
            .and_then(|line| line.get(column))
            .is_some_and(|shown| lit.contains(*shown))
    };
    let mut seen = rqrr::PreparedImage::prepare_from_greyscale(width * SIZE, height * SIZE, |x, y| {
        if is_lit(x / SIZE, y / SIZE) { 255 } else { 0 }
    });
    let found = seen.detect_grids();
    assert_eq!(found.len(), 1, "one QR code:\n{screen}");
    found[0].decode().expect("it can be read").1
}
