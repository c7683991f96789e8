//! The story, the table and the data of assets, whole, as a person or a script gets them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::report::Report;
use super::story::story;
use super::table::{Columns, Span, table};
use super::terminal::{Paint, Screen};
use crate::api::EmailAsset;

fn now() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

fn asset(grant: &str, status: &Value) -> EmailAsset {
    let seed = (grant == "RefreshToken").then(|| json!({"name": "seed", "key": "refresh_token"}));
    let mut asset = json!({
        "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset",
        "metadata": {"name": "support", "namespace": "helpdesk", "generation": 1},
        "spec": {"email": "support@example.com", "provider": "google", "oauth2": {"grant": grant}},
        "status": status,
    });
    if let Some(seed) = seed {
        asset["spec"]["oauth2"]["refreshTokenSecretRef"] = seed;
    }
    serde_json::from_value(asset).unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-25T09:00:00Z"})
}

fn fresh() -> Value {
    json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "True", "Fresh", "Secret helpdesk/support-token holds a valid access token."),
            condition("Authorized", "True", "Stored", "Google accepts the stored grant."),
            condition("Refreshed", "True", "Refreshed", "Google gave an access token."),
        ],
        "token": {"secretName": "support-token", "expirationTime": "2026-11-25T11:00:00Z", "renewalTime": "2026-11-25T10:35:00Z"},
        "grant": {"account": "support@example.com", "grantTime": "2026-11-22T10:00:00Z"},
    })
}

fn told(grant: &str, status: &Value) -> String {
    story(&asset(grant, status), now(), Screen::Plain)
}

#[test]
fn a_story_says_what_is_valid_until_when_and_what_comes_next() {
    assert_eq!(
        told("AuthorizationCode", &fresh()),
        "support@example.com at google, EmailAsset helpdesk/support\n\
         \x20 Ready       yes, Secret support-token holds a token that is valid for 60 min (until 2026-11-25T11:00:00Z)\n\
         \x20 Next        the token is replaced in 35 min (2026-11-25T10:35:00Z), by itself\n\
         \x20 Signed in   support@example.com, 3 days ago (2026-11-22T10:00:00Z)\n\
         \x20 To do       nothing\n"
    );
}

#[test]
fn a_failing_refresh_is_told_while_the_token_is_valid() {
    let mut status = fresh();
    status["conditions"][2] = condition("Refreshed", "False", "Retrying", "Google could not answer.");
    status["token"]["renewalTime"] = json!("2026-11-25T09:58:00Z");
    status["failure"] = json!({"class": "RETRY", "count": 3, "nextAttemptTime": "2026-11-25T10:00:20Z"});
    assert_eq!(
        told("RefreshToken", &status),
        "support@example.com at google, EmailAsset helpdesk/support\n\
         \x20 Ready       yes, Secret support-token holds a token that is valid for 60 min (until 2026-11-25T11:00:00Z)\n\
         \x20 Seed taken  support@example.com, 3 days ago (2026-11-22T10:00:00Z)\n\
         \x20 Trouble     Retrying, 3 times in a row, next try in 20 s\n\
         \x20             Google could not answer.\n\
         \x20 To do       nothing\n"
    );
}

#[test]
fn who_must_sign_in_gets_the_command_and_the_link() {
    let message = "Nobody has signed in for support@example.com yet.";
    let status = json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "False", "SignInRequired", message),
            condition("Authorized", "False", "SignInRequired", message),
        ],
        "signIn": {"url": "https://mail.corp.example/sign-in/helpdesk/support?key=1"},
    });
    assert_eq!(
        told("AuthorizationCode", &status),
        "support@example.com at google, EmailAsset helpdesk/support\n\
         \x20 Ready       no (SignInRequired)\n\
         \x20             Nobody has signed in for support@example.com yet.\n\
         \x20 To do       support@example.com signs in:\n\
         \x20               kubectl emailasset authorize -n helpdesk support\n\
         \x20             or opens in a browser:\n\
         \x20               https://mail.corp.example/sign-in/helpdesk/support?key=1\n"
    );
}

#[test]
fn a_refused_sign_in_is_told_while_the_older_grant_goes_on() {
    let mut status = fresh();
    status["signIn"] = json!({"lastRefusal": {"reason": "WrongAccount", "message": "jane@example.com signed in.", "time": "2026-11-25T09:55:00Z"}});
    let told = told("AuthorizationCode", &status);
    assert!(
        told.contains("  Refused     a sign-in (WrongAccount), 5 min ago\n              jane@example.com signed in.\n"),
        "{told}"
    );
    assert!(told.contains("To do       nothing\n"), "{told}");
}

#[test]
fn an_asset_that_nobody_looked_at_makes_one_ask_for_the_operator() {
    let told = told("RefreshToken", &json!({"observedGeneration": -1}));
    assert!(told.contains("whether the operator is running"), "{told}");
}

#[test]
fn a_token_that_has_ended_is_not_ready_whatever_an_operator_that_stands_still_has_left() {
    let later: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    let asset = asset("AuthorizationCode", &fresh());
    assert!(!Report::of(&asset, later).ready);
    let told = story(&asset, later, Screen::Plain);
    assert!(told.contains("Next        overdue"), "{told}");
    assert!(told.contains("the last token ended 60 min ago"), "{told}");
}

#[test]
fn only_a_terminal_gets_colours_and_only_if_it_wants_them() {
    let asset = asset("AuthorizationCode", &fresh());
    let terminal = |paint| Screen::Terminal { width: 80, paint };
    assert!(story(&asset, now(), terminal(Paint::Colours)).contains("\u{1b}["));
    assert!(!story(&asset, now(), terminal(Paint::None)).contains('\u{1b}'));
    assert!(!story(&asset, now(), Screen::Plain).contains('\u{1b}'));
}

#[test]
fn a_message_cannot_steer_the_terminal() {
    let mut status = fresh();
    let bad = "bad\u{1b}[2Jthing";
    status["conditions"][2] = condition("Refreshed", "False", bad, bad);
    status["token"]["secretName"] = json!(bad);
    status["grant"]["account"] = json!(bad);
    status["signIn"] = json!({"lastRefusal": {"reason": bad, "message": bad}, "url": bad});
    let told = told("RefreshToken", &status);
    assert!(told.contains("thing") && !told.contains('\u{1b}'), "{told}");
}

#[test]
fn a_table_is_plain_columns_in_a_pipe_and_drawn_on_a_terminal() {
    let mut revoked = fresh();
    revoked["conditions"][1] = condition("Authorized", "False", "GrantRevoked", "Taken back.");
    let reports = [
        Report::of(&asset("AuthorizationCode", &fresh()), now()),
        Report::of(&asset("AuthorizationCode", &revoked), now()),
        Report::of(&asset("AuthorizationCode", &json!({"observedGeneration": -1})), now()),
    ];
    assert_eq!(
        table(&reports, now(), Span::All, Columns::Usual, Screen::Plain),
        "NAMESPACE   NAME      EMAIL                 PROVIDER   READY   REASON         EXPIRES                ACTS\n\
         helpdesk    support   support@example.com   google     yes     Fresh          2026-11-25T11:00:00Z   -\n\
         helpdesk    support   support@example.com   google     yes     GrantRevoked   2026-11-25T11:00:00Z   owner\n\
         helpdesk    support   support@example.com   google     no      -              -                      admin\n"
    );
    let screen = Screen::Terminal {
        width: 120,
        paint: Paint::None,
    };
    let drawn = table(&reports, now(), Span::One, Columns::Wide, screen);
    assert!(drawn.contains("60 min") && drawn.contains("──"), "{drawn}");
    let narrow = Screen::Terminal {
        width: 60,
        paint: Paint::None,
    };
    let narrow = table(&reports, now(), Span::All, Columns::Usual, narrow);
    assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
    assert!(
        narrow.contains("support") && narrow.contains("ACTS") && !narrow.contains("PROVIDER"),
        "{narrow}"
    );
}

#[test]
fn the_data_for_programs_has_the_documented_fields() {
    let mut status = fresh();
    status["conditions"][1] = condition("Authorized", "False", "GrantRevoked", "Taken back.");
    status["signIn"] = json!({"url": "https://mail.corp.example/s"});
    let report = Report::of(&asset("AuthorizationCode", &status), now());
    assert_eq!(
        serde_json::to_value(&report).unwrap(),
        json!({
            "namespace": "helpdesk", "name": "support", "email": "support@example.com", "provider": "google",
            "ready": true, "reason": "Fresh", "message": "Secret helpdesk/support-token holds a valid access token.",
            "token": {"secretName": "support-token", "expirationTime": "2026-11-25T11:00:00Z", "renewalTime": "2026-11-25T10:35:00Z"},
            "grant": {"account": "support@example.com", "grantTime": "2026-11-22T10:00:00Z"},
            "trouble": {"reason": "GrantRevoked", "message": "Taken back."},
            "act": {"who": "owner", "command": "kubectl emailasset authorize -n helpdesk support", "link": "https://mail.corp.example/s"},
        })
    );
}

/// `UPDATE_HELP=1 cargo test --lib plugin::` writes it anew.
#[test]
fn the_help_is_as_it_was_read_in_review() {
    let mut command = <super::Plugin as clap::CommandFactory>::command().term_width(100);
    command.build();
    let mut help = command.render_help().to_string();
    for name in [
        "authorize",
        "status",
        "refresh",
        "token",
        "import",
        "check",
        "providers",
        "completion",
    ] {
        let command = command.find_subcommand_mut(name).unwrap();
        let own = command.render_help().to_string();
        help.extend([
            "
$ kubectl emailasset ",
            name,
            " -h
",
            &own,
        ]);
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/plugin/help.txt");
    if std::env::var_os("UPDATE_HELP").is_some() {
        std::fs::write(file, &help).unwrap();
    }
    let read = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(help, read, "UPDATE_HELP=1 writes src/plugin/help.txt anew");
}
