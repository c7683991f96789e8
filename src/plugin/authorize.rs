//! `authorize`: a person signs in for an asset, and the operator gets the consent.
//!
//! ```text
//! asset ──authorizationRequest──> link ──browser──> provider ──> loopback page ──code──> Secret ──> operator ──> verdict
//! ```
//!
//! The plugin makes the PKCE pair, state and nonce, and never sees a token: the operator redeems the code with the client's credentials, proves who signed in,
//! and deletes the Secret. Needed rights, all in the asset's namespace: get emailassets; create, get and delete secrets; list events. With a code on another
//! device: get and patch emailassets, list events.

mod browser;
mod callback;
mod device;
mod handover;
mod loopback;
mod pages;
mod request;
mod verdict;

use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use browser::{Browser, Session};
use callback::{Consented, Refused};
use handover::{Handed, Handover};
use loopback::{Host, Loopback};
use verdict::{Before, Verdict};

use super::arguments::AuthorizeArguments;
use super::cluster::{Cluster, EVENTS};
use super::exit::{Exit, Problem};
use super::report::Report;
use super::story::in_short;
use super::terminal::{Screen, Waiting, harmless, print, tell};
use crate::api::{ConditionType, EmailAsset, Grant, Reason};
use crate::lifecycle;
use crate::provider::{self, Catalogue};

/// Between two looks at the cluster.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the operator may take to prepare the request, or a code.
const PREPARE_LIMIT: Duration = Duration::from_secs(45);
/// How long it may take to come for what was handed over: the code lives for a minute at many providers.
const TAKE_LIMIT: Duration = Duration::from_secs(90);
/// How long it may take after that, to ask the provider for tokens and keys and to say what came of it.
const REDEEM_LIMIT: Duration = Duration::from_secs(120);
/// How long the token may take to be published after that.
const TOKEN_LIMIT: Duration = Duration::from_secs(20);

/// Signs a person in.
pub(super) async fn run(cluster: &Cluster, arguments: &AuthorizeArguments) -> Result<Exit, Problem> {
    let asset = cluster.asset(&arguments.name).await?;
    refuse_what_needs_no_person(&asset)?;
    if arguments.device || asset.spec.oauth2.grant == Grant::DeviceCode {
        Box::pin(device::run(cluster, arguments, asset)).await
    } else {
        Box::pin(in_browser(cluster, arguments)).await
    }
}

fn refuse_what_needs_no_person(asset: &EmailAsset) -> Result<(), Problem> {
    let name = asset.metadata.name.as_deref().unwrap_or_default();
    if !asset.spec.oauth2.grant.needs_sign_in() {
        return Err(Problem::usage(format!(
            "Nobody signs in for EmailAsset {name}: it has grant {}. For a sign-in set spec.oauth2.grant to AuthorizationCode or DeviceCode.",
            asset.spec.oauth2.grant.as_str()
        )));
    }
    if asset.spec.suspended() {
        return Err(Problem::new(
            Exit::Found,
            format!("EmailAsset {name} is suspended: nothing is done for it until spec.suspend is false."),
        ));
    }
    Ok(())
}

async fn in_browser(cluster: &Cluster, arguments: &AuthorizeArguments) -> Result<Exit, Problem> {
    let asset = prepared(cluster, &arguments.name).await?;
    let Some(uid) = asset.metadata.uid.clone() else {
        return Err(Problem::new(
            Exit::Cluster,
            "The API server gave an asset without a UID.",
        ));
    };
    let secrets = request::Secrets::make()?;
    let loopback = Loopback::open(loopback_host(&asset), arguments.port).await?;
    let redirect_uri = loopback.redirect_uri();
    let link = request::link(
        authorization_request(&asset).unwrap_or_default(),
        &redirect_uri,
        &secrets,
    )?;
    tell(&format!(
        "Sign in at {} as {}, for EmailAsset {}/{}.",
        link.host_str().unwrap_or_default(),
        asset.spec.login_email(),
        cluster.namespace,
        arguments.name
    ));
    let wish = if arguments.no_browser {
        Browser::Leave
    } else {
        Browser::Open
    };
    browser::lead(&link, loopback.port(), wish, &Session::here());

    let consented = consent(loopback, &secrets, arguments, &redirect_uri).await?;
    let handover = Handover {
        asset: &arguments.name,
        uid: &uid,
        redirect_uri: &redirect_uri,
        secrets: &secrets,
        granted: verdict::granted(&asset).map(|time| time.0),
    };
    // Looked at now and not when the person was sent away: what others have done meanwhile is no answer to this sign-in.
    let asset = cluster.asset(&arguments.name).await?;
    let before = Before::of(&asset, &events(cluster, &arguments.name).await);
    let handed = handover.give(cluster, &consented).await?;
    let ended = tokio::select! {
        ended = redeemed(cluster, &arguments.name, &before, &handed) => ended,
        () = interrupted() => Err(stopped()),
    };
    if ended.is_err() {
        // The code must not lie about. What comes first is the reason why it was not taken.
        if let Err(problem) = handed.take_back(cluster).await {
            tell(&format!(
                "Secret {}/{} could not be deleted; delete it: {}",
                cluster.namespace, handed.name, problem.message
            ));
        }
    }
    finish(cluster, ended?).await
}

/// Waits until the operator has prepared the authorization request.
async fn prepared(cluster: &Cluster, name: &str) -> Result<EmailAsset, Problem> {
    let until = Instant::now() + PREPARE_LIMIT;
    let mut waiting = None;
    loop {
        let asset = cluster.asset(name).await?;
        if authorization_request(&asset).is_some() {
            return Ok(asset);
        }
        if let Some(obstacle) = obstacle(&asset) {
            return Err(obstacle);
        }
        if Instant::now() >= until {
            let said = in_short(&asset, Timestamp::now());
            return Err(Problem::new(
                Exit::TimedOut,
                format!(
                    "The operator has not prepared a sign-in for EmailAsset {}/{name} within {} s. Is it running? {said}",
                    cluster.namespace,
                    PREPARE_LIMIT.as_secs()
                ),
            ));
        }
        waiting.get_or_insert_with(|| Waiting::show("Waiting for the operator to prepare the sign-in"));
        tokio::time::sleep(PAUSE).await;
    }
}

fn authorization_request(asset: &EmailAsset) -> Option<&str> {
    asset
        .status
        .as_ref()?
        .sign_in
        .as_ref()?
        .authorization_request
        .as_deref()
}

/// What keeps the operator from preparing a sign-in, if it has said so about the newest spec.
fn obstacle(asset: &EmailAsset) -> Option<Problem> {
    let status = asset.status.as_ref()?;
    if status.observed_generation < asset.metadata.generation {
        return None;
    }
    let stalled = lifecycle::condition(&status.conditions, ConditionType::Stalled)?;
    let in_the_way = stalled.status == "True" && !waits_for_a_person(&stalled.reason);
    in_the_way.then(|| {
        Problem::new(
            Exit::Found,
            format!(
                "No sign-in can begin ({}): {}",
                harmless(&stalled.reason, 100),
                harmless(&stalled.message, 2_000)
            ),
        )
    })
}

/// Whether a sign-in is what mends it.
fn waits_for_a_person(reason: &str) -> bool {
    let reason = Reason::parse(reason);
    let ended = [Reason::GrantRevoked, Reason::GrantExpired, Reason::GrantLost];
    matches!(reason, Some(Reason::SignInRequired | Reason::Pending))
        || reason.is_some_and(|reason| ended.contains(&reason) || verdict::is_refusal(reason))
}

/// The loopback name that the provider's clients register: the catalogue's fact. A spec that this plugin is too old for gets the address, which
/// RFC 8252 section 8.3 advises.
fn loopback_host(asset: &EmailAsset) -> Host {
    let endpoints = Catalogue::built_in()
        .ok()
        .and_then(|catalogue| provider::resolve(&asset.spec, catalogue).ok());
    match endpoints {
        Some(endpoints) if endpoints.sign_in.loopback_host == "localhost" => Host::Name,
        _ => Host::Address,
    }
}

/// Waits for the person.
async fn consent(
    loopback: Loopback,
    secrets: &request::Secrets,
    arguments: &AuthorizeArguments,
    redirect_uri: &str,
) -> Result<Consented, Problem> {
    let _waiting = Waiting::show("Waiting for the sign-in in the browser");
    let answer = tokio::select! {
        answer = timeout(arguments.timeout, loopback.answer(secrets.state.clone())) => answer,
        () = interrupted() => return Err(stopped()),
    };
    match answer {
        Ok(Ok(consented)) => Ok(consented),
        Ok(Err(refused)) => Err(refusal(&refused)),
        Err(_) => Err(Problem::new(
            Exit::TimedOut,
            format!(
                "Nobody signed in within {} s; nothing was changed. If the provider showed an error about the redirect URI, register {redirect_uri} at the OAuth \
                 client (with a fixed port: --port), or choose a client for desktop apps.",
                arguments.timeout.as_secs()
            ),
        )),
    }
}

/// The provider's refusal, for a person (RFC 6749 section 4.1.2.1).
fn refusal(refused: &Refused) -> Problem {
    let meaning = match refused.error.as_str() {
        "access_denied" | "consent_required" => {
            "The provider got no consent: somebody said no there, or an administrator has to consent first."
        }
        "invalid_scope" => {
            "The provider does not know what was asked for, or does not give it to this OAuth client: look at spec.oauth2.scopes."
        }
        "unauthorized_client" => {
            "The provider does not let this OAuth client sign people in: look at its registration there."
        }
        "server_error" | "temporarily_unavailable" => "The provider has trouble; try again later.",
        _ => "The provider sent the sign-in back.",
    };
    let described = refused
        .description
        .as_ref()
        .map(|words| format!(": {words}"))
        .unwrap_or_default();
    Problem::new(
        Exit::SignInRefused,
        format!(
            "{meaning} Nothing was changed. The provider's words: {}{described}",
            refused.error
        ),
    )
}

/// Waits for what the operator makes of what it was handed.
async fn redeemed(cluster: &Cluster, name: &str, before: &Before, handed: &Handed) -> Result<EmailAsset, Problem> {
    let _waiting = Waiting::show("Waiting for the operator");
    let mut until = Instant::now() + TAKE_LIMIT;
    let mut taken = false;
    loop {
        if !taken && !handed.is_there(cluster).await? {
            taken = true;
            until = Instant::now() + REDEEM_LIMIT;
        }
        let asset = cluster.asset(name).await?;
        // Events cost a list, and say something new only when the operator is done.
        let events = if taken { events(cluster, name).await } else { Vec::new() };
        match before.verdict(&asset, &events) {
            Verdict::SignedIn if taken => return Ok(asset),
            Verdict::Refused { reason, message } if taken => return Err(refused_by_operator(&reason, &message)),
            _ => {}
        }
        if Instant::now() >= until {
            return Err(Problem::new(Exit::TimedOut, unanswered(cluster, name, taken)));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn unanswered(cluster: &Cluster, name: &str, taken: bool) -> String {
    let look = format!("kubectl emailasset status {name} -n {}", cluster.namespace);
    if taken {
        format!(
            "The operator has taken the consent, but what came of it cannot be seen yet. Look again in a while: {look}"
        )
    } else {
        format!(
            "The operator has not taken the consent within {} s, so it was withdrawn; nothing was changed. Is the operator running, and does it watch namespace {}? \
             {look}",
            TAKE_LIMIT.as_secs(),
            cluster.namespace
        )
    }
}

fn refused_by_operator(reason: &str, message: &str) -> Problem {
    Problem::new(Exit::SignInRefused, format!("{message} ({reason})"))
}

/// Says what the sign-in has brought, once the token is there.
async fn finish(cluster: &Cluster, asset: EmailAsset) -> Result<Exit, Problem> {
    let name = asset.metadata.name.clone().unwrap_or_default();
    let account = |asset: &EmailAsset| asset.status.as_ref()?.grant.as_ref()?.account.clone();
    let until = Instant::now() + TOKEN_LIMIT;
    let mut asset = asset;
    {
        let _waiting = Waiting::show("Waiting for the token");
        while !Report::of(&asset, Timestamp::now()).ready {
            tokio::time::sleep(PAUSE).await;
            match timeout_at(until, cluster.asset(&name)).await {
                Ok(newer) => asset = newer?,
                Err(_) => break,
            }
            if Instant::now() >= until {
                break;
            }
        }
    }
    let now = Timestamp::now();
    let ready = Report::of(&asset, now).ready;
    let screen = Screen::of_output();
    let who = account(&asset).map(|account| format!(" as {}", harmless(&account, 254)));
    print(&format!(
        "{} {}\n",
        screen.good(&format!("Signed in{}.", who.unwrap_or_default())),
        in_short(&asset, now)
    ));
    Ok(if ready { Exit::Fine } else { Exit::Found })
}

/// The Events about an asset; none where they may not be read.
async fn events(cluster: &Cluster, name: &str) -> Vec<Event> {
    let api = cluster.events();
    let about = format!("involvedObject.kind=EmailAsset,involvedObject.name={name}");
    let parameters = ListParams::default().fields(&about).limit(200);
    let listed = cluster
        .call(cluster.right("list", EVENTS, None), api.list(&parameters))
        .await;
    listed.map(|events| events.items).unwrap_or_default()
}

fn stopped() -> Problem {
    Problem::new(Exit::Interrupted, "Stopped; nothing was changed.")
}

/// Ends when somebody wants this process to end, or has wanted it before: what comes between two waits must not be lost.
async fn interrupted() {
    static WANTED: OnceLock<CancellationToken> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let wanted = CancellationToken::new();
        let tell = wanted.clone();
        tokio::spawn(async move {
            signalled().await;
            tell.cancel();
        });
        wanted
    });
    wanted.cancelled().await;
}

/// Ends with the next Ctrl-C or SIGTERM.
async fn signalled() {
    let ctrl_c = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let end = async {
            match signal(SignalKind::terminate()) {
                Ok(mut end) => {
                    end.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! { () = ctrl_c => {}, () = end => {} }
    }
    #[cfg(not(unix))]
    ctrl_c.await;
}
