//! Signing in with a code on any device (RFC 8628): the operator asks the provider for the code and polls; here it is shown, with a picture for a phone.

use jiff::Timestamp;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::time::Instant;

use super::verdict::{Before, Verdict};
use super::{PAUSE, PREPARE_LIMIT, events, finish, interrupted, obstacle, refused_by_operator, stopped};
use crate::api::{EmailAsset, Grant, names};
use crate::plugin::arguments::AuthorizeArguments;
use crate::plugin::cluster::Cluster;
use crate::plugin::exit::{Exit, Problem};
use crate::plugin::refresh::annotate;
use crate::plugin::terminal::{Screen, Waiting, harmless, tell};
use crate::plugin::words::distance;

/// Longest address and code that are shown, in characters.
const LONGEST: usize = 500;

/// A code to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    page: String,
    code: String,
    expires: Option<Timestamp>,
}

/// Asks for a code, shows it, and waits for the person.
pub(super) async fn run(cluster: &Cluster, arguments: &AuthorizeArguments, asset: EmailAsset) -> Result<Exit, Problem> {
    let name = &arguments.name;
    let before = Before::of(&asset, &events(cluster, name).await);
    let request = Timestamp::now().to_string();
    annotate(cluster, name, names::SIGN_IN, &request).await?;
    let signing_in = async {
        let code = code(cluster, &asset, &before, &request).await?;
        show(&code, &asset, cluster);
        signed_in(cluster, arguments, &before).await
    };
    let asset = tokio::select! {
        ended = signing_in => ended?,
        () = interrupted() => return Err(stopped()),
    };
    finish(cluster, asset).await
}

async fn code(cluster: &Cluster, asset: &EmailAsset, before: &Before, request: &str) -> Result<Shown, Problem> {
    let name = asset.metadata.name.as_deref().unwrap_or_default();
    let _waiting = Waiting::show("Waiting for a code");
    let until = Instant::now() + PREPARE_LIMIT;
    loop {
        let newer = cluster.asset(name).await?;
        let handled = newer
            .status
            .as_ref()
            .and_then(|status| status.handled_requests.as_ref()?.sign_in.as_deref());
        if let Some(code) = code_of(&newer).filter(|_| handled == Some(request)) {
            return Ok(code);
        }
        // Without Events: a list for each look would cost more than it tells, and the status says the same.
        if let Verdict::Refused { reason, message } = before.verdict(&newer, &[]) {
            return Err(refused_by_operator(&reason, &message));
        }
        if let Some(obstacle) = obstacle(&newer) {
            return Err(obstacle);
        }
        if Instant::now() >= until {
            return Err(Problem::new(Exit::TimedOut, no_code(&newer, cluster)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn code_of(asset: &EmailAsset) -> Option<Shown> {
    let sign_in = asset.status.as_ref()?.sign_in.as_ref()?;
    Some(Shown {
        page: sign_in.verification_url.clone()?,
        code: sign_in.user_code.clone()?,
        expires: sign_in.expiration_time.as_ref().map(|time| time.0),
    })
}

fn no_code(asset: &EmailAsset, cluster: &Cluster) -> String {
    let name = asset.metadata.name.as_deref().unwrap_or_default();
    let limit = PREPARE_LIMIT.as_secs();
    if asset.spec.oauth2.grant == Grant::DeviceCode {
        format!(
            "The operator got no code within {limit} s. What it says: kubectl emailasset status {name} -n {}",
            cluster.namespace
        )
    } else {
        format!(
            "The operator got no code within {limit} s: EmailAsset {}/{name} has grant {}. Set spec.oauth2.grant to DeviceCode, or leave out --device and sign in with a \
             browser.",
            cluster.namespace,
            asset.spec.oauth2.grant.as_str()
        )
    }
}

fn show(code: &Shown, asset: &EmailAsset, cluster: &Cluster) {
    let screen = Screen::of_errors();
    for line in words(code, asset, &cluster.namespace, screen, Timestamp::now()) {
        tell(&line);
    }
}

fn words(code: &Shown, asset: &EmailAsset, namespace: &str, screen: Screen, now: Timestamp) -> Vec<String> {
    let (page, user_code) = (harmless(&code.page, LONGEST), harmless(&code.code, LONGEST));
    let mut lines = vec![
        format!(
            "Sign in as {}, for EmailAsset {namespace}/{}. On any device, open",
            asset.spec.login_email(),
            asset.metadata.name.as_deref().unwrap_or_default()
        ),
        format!("  {page}"),
        "and enter the code".to_owned(),
        format!("  {}", screen.strong(&user_code)),
    ];
    if let Some(expires) = code.expires {
        lines.push(format!("The code ends {}.", distance(expires, now)));
    }
    if screen.is_terminal() {
        lines.extend(picture(&page));
    }
    lines
}

/// The address as a QR code of half blocks; none where it is too long for one. Light modules are drawn, since most terminals are dark.
fn picture(page: &str) -> Option<String> {
    let code = QrCode::new(page).ok()?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Some(drawn)
}

async fn signed_in(cluster: &Cluster, arguments: &AuthorizeArguments, before: &Before) -> Result<EmailAsset, Problem> {
    let name = &arguments.name;
    let _waiting = Waiting::show("Waiting for the sign-in");
    let until = Instant::now() + arguments.timeout;
    loop {
        let asset = cluster.asset(name).await?;
        match before.verdict(&asset, &events(cluster, name).await) {
            Verdict::SignedIn => return Ok(asset),
            Verdict::Refused { reason, message } => return Err(refused_by_operator(&reason, &message)),
            Verdict::Open => {}
        }
        if Instant::now() >= until {
            return Err(Problem::new(
                Exit::TimedOut,
                format!(
                    "Nobody signed in within {} s; nothing was changed. For a new code, run this again.",
                    arguments.timeout.as_secs()
                ),
            ));
        }
        // A person takes longer than this to read the code.
        tokio::time::sleep(PAUSE * 4).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugin::terminal::Paint;

    fn asset() -> EmailAsset {
        serde_json::from_value(json!({
            "apiVersion": "emailasset.dev/v1alpha1", "kind": "EmailAsset", "metadata": {"name": "support"},
            "spec": {"email": "support@example.com", "oauth2": {"grant": "DeviceCode"}},
            "status": {"signIn": {"verificationURL": "https://microsoft.com/devicelogin", "userCode": "ABCD-EFGH", "expirationTime": "2026-11-25T10:15:00Z"}},
        }))
        .unwrap()
    }

    #[test]
    fn a_code_is_shown_with_its_page_and_on_a_terminal_as_a_picture() {
        let now = "2026-11-25T10:00:00Z".parse().unwrap();
        let code = code_of(&asset()).unwrap();
        let plain = words(&code, &asset(), "helpdesk", Screen::Plain, now).join("\n");
        assert_eq!(
            plain,
            "Sign in as support@example.com, for EmailAsset helpdesk/support. On any device, open\n  https://microsoft.com/devicelogin\nand enter the code\n  \
             ABCD-EFGH\nThe code ends in 15 min."
        );
        let screen = Screen::Terminal {
            width: 80,
            paint: Paint::None,
        };
        let shown = words(&code, &asset(), "helpdesk", screen, now).join("\n");
        assert!(shown.contains('▀') && shown.contains('█'), "{shown}");
    }
}
