//! The story of one asset: what is valid until when, what comes next, what went wrong and who must act.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::report::{Report, Trouble, Who};
use super::terminal::{Screen, harmless};
use super::words::{self, distance, roughly};
use crate::api::{EmailAsset, Grant};

/// Columns of the label before each paragraph.
const LABEL: usize = 12;
/// A renewal that is late by this much makes one ask whether the operator runs.
const LATE: SignedDuration = SignedDuration::from_mins(5);
/// Longest text of the status that is told, in characters.
const LONGEST: usize = 2_000;

/// How one asset stands, for a person.
#[must_use]
pub fn story(asset: &EmailAsset, now: Timestamp, screen: Screen) -> String {
    let report = Report::of(asset, now);
    let mut told = Told {
        text: String::new(),
        screen,
    };
    let provider = report
        .provider
        .as_deref()
        .map(|provider| format!(" at {provider}"))
        .unwrap_or_default();
    told.line(&format!(
        "{}{provider}, EmailAsset {}/{}",
        screen.strong(&report.email),
        report.namespace,
        report.name
    ));
    if report.reason.is_empty() {
        told.paragraph(
            "Ready",
            &screen.doubtful("not known"),
            "The operator has not looked at it yet.",
        );
        told.paragraph(
            "To do",
            "",
            "An admin of the cluster looks whether the operator is running: kubectl get pods -A -l app.kubernetes.io/name=emailasset-operator",
        );
        return told.text;
    }
    readiness(&mut told, &report, now);
    next(&mut told, &report, now);
    grant(&mut told, asset, &report, now);
    trouble(&mut told, &report, now);
    refusal(&mut told, &report, now);
    stale_spec(&mut told, asset);
    to_do(&mut told, asset, &report);
    told.text
}

struct Told {
    text: String,
    screen: Screen,
}

impl Told {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// A label, a short answer that may be coloured, and sentences beside it, all indented alike.
    fn paragraph(&mut self, label: &str, answer: &str, sentences: &str) {
        let sentences = harmless(sentences, LONGEST);
        let width = self
            .screen
            .wrap_at()
            .map(|width| width.saturating_sub(LABEL + 2).max(30));
        let mut lines = words::sentences(&sentences, width).into_iter();
        let first = match (answer, lines.next().unwrap_or_default()) {
            ("", first) => first,
            (answer, first) if first.is_empty() => answer.to_owned(),
            (answer, first) => {
                self.line(format!("  {label:<LABEL$}{answer}").trim_end());
                return self.rest(std::iter::once(first).chain(lines));
            }
        };
        self.line(format!("  {label:<LABEL$}{first}").trim_end());
        self.rest(lines);
    }

    fn rest(&mut self, lines: impl Iterator<Item = String>) {
        for line in lines {
            self.line(&format!("  {:<LABEL$}{line}", ""));
        }
    }

    /// Something to copy, on a line of its own and never broken.
    fn copied(&mut self, text: &str) {
        let text = harmless(text, LONGEST);
        self.line(&format!("  {:<LABEL$}  {}", "", self.screen.strong(&text)));
    }
}

fn readiness(told: &mut Told, report: &Report, now: Timestamp) {
    let token = report.token.as_ref();
    let secret = token
        .and_then(|token| token.secret_name.as_deref())
        .unwrap_or("with the token");
    let expires = token.and_then(|token| token.expiration_time);
    match (report.ready, expires) {
        (true, Some(expires)) => {
            let answer = told.screen.good("yes");
            told.paragraph(
                "Ready",
                &format!(
                    "{answer}, Secret {secret} holds a token that is valid for {} (until {expires})",
                    roughly(expires.duration_since(now))
                ),
                "",
            );
        }
        (true, None) => {
            let answer = told.screen.good("yes");
            told.paragraph(
                "Ready",
                &format!("{answer}, Secret {secret} holds a token without a known end"),
                "",
            );
        }
        (false, expires) => {
            let answer = told.screen.bad("no");
            let ended = expires
                .filter(|expires| *expires <= now)
                .map(|expires| format!(", the last token ended {} ({expires})", distance(expires, now)));
            let ended = ended.unwrap_or_default();
            let tries = report
                .trouble
                .as_ref()
                .filter(|trouble| is_the_same(trouble, report))
                .map(|trouble| tries(trouble, now));
            let answer = format!("{answer} ({}){ended}{}", report.reason, tries.unwrap_or_default());
            told.paragraph("Ready", &answer, &report.message);
        }
    }
}

fn next(told: &mut Told, report: &Report, now: Timestamp) {
    let Some(renewal) = report.token.as_ref().and_then(|token| token.renewal_time) else {
        return;
    };
    if report.act.who != Who::Nobody && renewal <= now {
        return;
    }
    if renewal > now {
        let text = format!(
            "the token is replaced {} ({renewal}), by itself",
            distance(renewal, now)
        );
        told.paragraph("Next", &text, "");
    } else if report.trouble.is_none() && now.duration_since(renewal) > LATE {
        let answer = told.screen.doubtful("overdue");
        told.paragraph(
            "Next",
            &format!(
                "{answer}, the token was to be replaced {} ({renewal})",
                distance(renewal, now)
            ),
            "Is the operator running? kubectl get pods -A -l app.kubernetes.io/name=emailasset-operator",
        );
    } else if report.trouble.is_none() {
        told.paragraph("Next", "the token is being replaced", "");
    }
}

fn grant(told: &mut Told, asset: &EmailAsset, report: &Report, now: Timestamp) {
    let Some(grant) = &report.grant else { return };
    let when = grant.grant_time.map(|time| format!("{} ({time})", distance(time, now)));
    let label = if asset.spec.oauth2.grant.needs_sign_in() {
        "Signed in"
    } else {
        "Seed taken"
    };
    let parts: Vec<String> = grant.account.clone().into_iter().chain(when).collect();
    if !parts.is_empty() {
        told.paragraph(label, "", &parts.join(", "));
    }
}

fn trouble(told: &mut Told, report: &Report, now: Timestamp) {
    let Some(trouble) = report
        .trouble
        .as_ref()
        .filter(|trouble| report.ready || !is_the_same(trouble, report))
    else {
        return;
    };
    let reason = told.screen.doubtful(&trouble.reason);
    told.paragraph("Trouble", &format!("{reason}{}", tries(trouble, now)), &trouble.message);
}

/// Whether the trouble is what keeps the asset from being ready: then that tells it.
fn is_the_same(trouble: &Trouble, report: &Report) -> bool {
    trouble.message == report.message
}

/// How often it failed, and when it is tried again.
fn tries(trouble: &Trouble, now: Timestamp) -> String {
    let count = trouble
        .count
        .filter(|count| *count > 1)
        .map(|count| format!(", {count} times in a row"));
    let again = trouble.next_attempt_time.map(|time| {
        if time > now {
            format!(", next try {}", distance(time, now))
        } else {
            ", being tried again".to_owned()
        }
    });
    format!("{}{}", count.unwrap_or_default(), again.unwrap_or_default())
}

/// A sign-in that changed nothing while all goes on; where nothing does, the trouble tells it already.
fn refusal(told: &mut Told, report: &Report, now: Timestamp) {
    let Some(refusal) = &report.last_refusal else { return };
    let message = refusal.message.as_deref().unwrap_or_default();
    let told_already = |text: &str| !message.is_empty() && text.contains(message);
    if told_already(&report.message)
        || report
            .trouble
            .as_ref()
            .is_some_and(|trouble| told_already(&trouble.message))
    {
        return;
    }
    let reason = told.screen.doubtful(refusal.reason.as_deref().unwrap_or("refused"));
    let when = refusal
        .time
        .map(|time| format!(", {}", distance(time, now)))
        .unwrap_or_default();
    told.paragraph("Refused", &format!("a sign-in ({reason}){when}"), message);
}

fn stale_spec(told: &mut Told, asset: &EmailAsset) {
    let seen = asset.status.as_ref().and_then(|status| status.observed_generation);
    if seen
        .zip(asset.metadata.generation)
        .is_some_and(|(seen, newest)| seen < newest)
    {
        told.paragraph("Note", "", "The operator has not looked at the newest spec yet.");
    }
}

fn to_do(told: &mut Told, asset: &EmailAsset, report: &Report) {
    let act = &report.act;
    match act.who {
        Who::Nobody if report.ready => told.paragraph("To do", "nothing", ""),
        Who::Nobody => told.paragraph("To do", "nothing: it mends itself", ""),
        Who::Admin => told.paragraph("To do", "an admin acts, as said above", ""),
        Who::Developers => told.paragraph(
            "To do",
            "please report this to the developers of emailasset-operator",
            "",
        ),
        Who::Owner => match &act.command {
            Some(command) => {
                let login = asset.spec.login_email();
                told.paragraph("To do", &format!("{login} signs in:"), "");
                told.copied(command);
                if let Some(link) = &act.link {
                    let code = act
                        .code
                        .as_deref()
                        .filter(|_| asset.spec.oauth2.grant == Grant::DeviceCode);
                    let with = code.map(|code| format!(", with the code {code}")).unwrap_or_default();
                    told.rest(std::iter::once(format!("or opens in a browser{with}:")));
                    told.copied(link);
                }
            }
            None => told.paragraph(
                "To do",
                "whoever has a new refresh token puts it into the seed Secret, as said above",
                "",
            ),
        },
    }
}

/// One line about an asset, for the end of a command.
#[must_use]
pub(super) fn in_short(asset: &EmailAsset, now: Timestamp) -> String {
    let report = Report::of(asset, now);
    let token = report.token.as_ref();
    let until = token
        .and_then(|token| token.expiration_time)
        .map(|expires| format!(" until {expires} ({})", distance(expires, now)));
    match token.and_then(|token| token.secret_name.as_deref()) {
        Some(secret) if report.ready => format!(
            "Secret {}/{secret} holds a valid access token{}.",
            asset.namespace().unwrap_or_default(),
            until.unwrap_or_default()
        ),
        _ => format!("Not ready ({}): {}", report.reason, harmless(&report.message, LONGEST)),
    }
}
