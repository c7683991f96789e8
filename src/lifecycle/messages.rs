//! What people read in conditions: the thing, what was found, what it means and the next step with its command.
//!
//! Messages about one answer of a provider are made where the answer is classified; these are about how an asset stands. All of them are in
//! `tests/messages.txt`, to be read in review.

use jiff::{SignedDuration, Timestamp};

use super::{
    foresight::{End, Why},
    report,
    turn::Wait,
    world::{Activity, Binding, DeviceAuthorization, Names, Plan, SignInBy, SignInWay},
};

/// A token has expired and the next one is due.
pub(super) const NEXT_IS_DUE: &str = "The next one is due and is being fetched; nobody has to do anything.";

/// Refreshed is True.
#[must_use]
pub(super) fn refreshed(names: &Names) -> String {
    format!("{} gave an access token when it was last asked.", names.provider)
}

/// Ready is True.
#[must_use]
pub(super) fn token_is_valid(names: &Names) -> String {
    format!(
        "Secret {} holds a valid access token for {}.",
        names.token_secret, names.email
    )
}

/// Authorized is True.
#[must_use]
pub(super) fn grant_is_stored(names: &Names) -> String {
    format!("{} accepts the stored grant for {}.", names.provider, names.email)
}

/// Authorized is True: the grant works, and its end is near, or past.
#[must_use]
pub(super) fn grant_ends(end: &End, activity: Activity, now: Timestamp, names: &Names) -> String {
    let (provider, email) = (&names.provider, &names.email);
    let ahead = end.at > now;
    let at = report::whole_second(end.at).0;
    let ends = if ahead {
        format!("ends at {at}")
    } else {
        format!("should have ended at {at}")
    };
    let step = match (end.why, activity) {
        (Why::Idle(_) | Why::Slides, Activity::Suspended) if ahead => {
            format!("To keep it, resume the asset for a minute: {}", resume(&names.asset))
        }
        (Why::Idle(_) | Why::Slides, Activity::Active) => {
            "Any refresh that works keeps it; what stands in the way is said in the condition Refreshed.".to_owned()
        }
        (Why::Testing(_), _) => format!(
            "Publish the app there first, or the next one ends so too. {}",
            new_grant(names)
        ),
        (Why::Stated, _) if ahead => format!("So that tokens go on after that: {}", lower_first(&new_grant(names))),
        _ => new_grant(names),
    };
    match end.why {
        Why::Stated => format!("{provider} says that the grant for {email} {ends}. {step}"),
        Why::Slides => format!("{provider} says that the grant for {email} {ends}, unless it is used before. {step}"),
        Why::Testing(life) => format!(
            "{provider} says that the grant for {email} {ends}, {} after it was given: that is what apps in testing get, unless the person limited the time. \
             {step}",
            length(life)
        ),
        Why::Lifetime(life) => format!(
            "Refresh tokens of {provider} live for {}, so the grant for {email} {ends}. {step}",
            length(life)
        ),
        Why::Idle(life) => format!(
            "{provider} ends a grant that is not used for {}, so the one for {email} {ends}. {step}",
            length(life)
        ),
    }
}

/// A refresh that was asked for has to wait.
#[must_use]
pub(super) fn request_waits(wait: &Wait, names: &Names) -> String {
    let at = report::next_second(wait.until).0;
    match wait.pace {
        Some(interval) => format!(
            "The refresh that was asked for is made at {at}: {} minds more than one of the same grant in {}.",
            names.provider,
            length(interval)
        ),
        None => format!("The refresh that was asked for is made at {at}."),
    }
}

/// A length of time in its largest unit.
fn length(of: SignedDuration) -> String {
    let (count, unit) = match of.as_secs() {
        seconds if seconds >= 2 * 86_400 => (seconds / 86_400, "day"),
        seconds if seconds >= 2 * 3600 => (seconds / 3600, "hour"),
        seconds if seconds >= 60 => (seconds / 60, "minute"),
        seconds => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Authorized is Unknown: nothing was redeemed yet.
#[must_use]
pub(super) fn grant_not_tried(names: &Names) -> String {
    format!(
        "{} has not accepted the refresh token in Secret {} yet: no try was answered with a token so far.",
        names.provider,
        seed_place(names)
    )
}

/// Authorized is True: tokens are issued without a grant.
#[must_use]
pub(super) fn token_was_issued(names: &Names) -> String {
    format!(
        "{} issues access tokens for {} to {}; nobody has to sign in.",
        names.provider,
        names.email,
        client(names)
    )
}

/// Authorized is Unknown: no token was issued yet.
#[must_use]
pub(super) fn nothing_issued(names: &Names) -> String {
    format!(
        "{} has not issued an access token for {} to {} yet.",
        names.provider,
        names.email,
        client(names)
    )
}

/// Who asks, where no person does.
fn client(names: &Names) -> String {
    match names.client.as_str() {
        "" => "the client in spec.oauth2.clientID".to_owned(),
        secret => format!("the client in Secret {secret}"),
    }
}

/// Authorized is Unknown: an answer is lost.
#[must_use]
pub(super) fn answer_was_lost(names: &Names) -> String {
    format!(
        "A refresh for {} was sent to {} and no answer came back, so the stored refresh token may be spent. It is tried again when nothing can be lost by \
         that; nobody has to do anything now.",
        names.email, names.provider
    )
}

/// Authorized is Unknown: the newest grant is not there.
#[must_use]
pub(super) fn grant_is_behind(names: &Names) -> String {
    format!(
        "Secret {} is missing or older than the newest grant for {}: it was deleted, or restored from a backup. The refresh token at hand is probably spent. It \
         is tried once, when no valid access token is left to lose. So as not to wait: {}",
        names.grant_secret,
        names.email,
        lower_first(&new_grant(names))
    )
}

/// The first token is on its way.
#[must_use]
pub(super) fn pending(names: &Names) -> String {
    format!(
        "The first access token for {} is being fetched; nobody has to do anything.",
        names.email
    )
}

/// The published token has expired, with what keeps the next one away.
#[must_use]
pub(super) fn token_expired(why: &str, names: &Names) -> String {
    format!("The access token in Secret {} has expired. {why}", names.token_secret)
        .trim_end()
        .to_owned()
}

/// `spec.suspend` is true and there is no valid token.
#[must_use]
pub(super) fn suspended(names: &Names) -> String {
    format!(
        "There is no valid access token for {}, and none is fetched while spec.suspend is true. To go on: {}",
        names.email,
        resume(&names.asset)
    )
}

/// `spec.suspend` is true, and the endpoints are not known yet: there are no names.
#[must_use]
pub fn suspended_undiscovered(asset: &str) -> String {
    format!(
        "The endpoints are not known yet, and the issuer is not asked for them while spec.suspend is true. To go on: {}",
        resume(asset)
    )
}

/// The command that ends a suspension.
fn resume(asset: &str) -> String {
    let (namespace, name) = split(asset);
    format!("kubectl patch emailasset -n {namespace} {name} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'")
}

/// The provider refused the grant and no valid token is left.
#[must_use]
pub(super) fn grant_is_refused(why: &str, names: &Names) -> String {
    let step = new_grant(names);
    if why.contains(&step) {
        why.to_owned()
    } else {
        format!("{why} {step}").trim_start().to_owned()
    }
}

/// The next step where only a new grant helps: a sign-in, or another refresh token.
#[must_use]
pub fn new_grant(names: &Names) -> String {
    match &names.sign_in {
        Some(way) => sign_in(way, names),
        None => new_seed(names),
    }
}

/// Nobody has signed in yet.
#[must_use]
pub(super) fn sign_in_needed(way: &SignInWay, names: &Names) -> String {
    format!(
        "{} has to be opened for this asset once, by a person. {}",
        names.email,
        sign_in(way, names)
    )
}

/// A code waits to be entered.
#[must_use]
pub(super) fn enter_code(device: &DeviceAuthorization, names: &Names) -> String {
    format!(
        "To open {} for this asset, go to {} and enter {}, before {}.",
        names.email, device.verification_url, device.user_code, device.expires
    )
}

/// The asset is going.
#[must_use]
pub(super) fn is_being_deleted(names: &Names) -> String {
    format!(
        "EmailAsset {} is being deleted: nobody can sign in for it.",
        names.asset
    )
}

/// The grant grows from a seed, or there is none.
#[must_use]
pub(super) fn needs_no_sign_in(plan: &Plan) -> String {
    let names = &plan.names;
    if plan.is_direct() {
        return format!(
            "EmailAsset {} gets its tokens by {} itself: nobody has to sign in.",
            names.asset,
            client(names)
        );
    }
    format!(
        "EmailAsset {} gets its grant from the refresh token in Secret {}: nobody has to sign in.",
        names.asset,
        seed_place(names)
    )
}

/// How to sign in.
fn sign_in(way: &SignInWay, names: &Names) -> String {
    let (namespace, name) = split(&names.asset);
    let command = format!("kubectl emailasset authorize -n {namespace} {name}");
    match (way.by, &way.page) {
        (SignInBy::Browser, Some(page)) => format!(
            "Sign in at {} as {}: open {page} in a browser, or run {command}",
            names.provider, way.login
        ),
        (SignInBy::Browser, None) => format!("Sign in at {} as {}: run {command}", names.provider, way.login),
        (SignInBy::Device, _) => format!(
            "Sign in at {} as {}: run {command}, or ask for a code, which then stands in status.signIn: kubectl annotate emailasset -n {namespace} {name} \
             --overwrite emailasset.dev/sign-in=\"$(date)\"",
            names.provider, way.login
        ),
    }
}

fn new_seed(names: &Names) -> String {
    format!(
        "Put a new refresh token for {} into Secret {}: {}",
        names.email,
        seed_place(names),
        patch_seed(names)
    )
}

/// The command that changes the seed.
fn patch_seed(names: &Names) -> String {
    let (secret, key) = seed_and_key(names);
    let (namespace, name) = split(secret);
    format!("kubectl patch secret -n {namespace} {name} --type merge -p '{{\"stringData\":{{\"{key}\":\"…\"}}}}'")
}

/// The seed in sight was refused or used up, and there is no other grant.
#[must_use]
pub(super) fn seed_was_refused(names: &Names) -> String {
    format!(
        "There is no grant for {}: the refresh token in Secret {} was sent before, and {} does not accept it (any more). {}",
        names.email,
        seed_place(names),
        names.provider,
        new_seed(names)
    )
}

/// A new seed was refused, and the grant in use goes on.
#[must_use]
pub(super) fn seed_rejected(names: &Names) -> String {
    format!(
        "{} refused the new refresh token in Secret {}. The grant in use goes on working; nothing is lost. Put the former refresh token back, or try another: {}",
        names.provider,
        seed_place(names),
        patch_seed(names)
    )
}

/// The grant belongs to another client or endpoint.
#[must_use]
pub(super) fn client_changed(bound: &Binding, plan: &Plan) -> String {
    let names = &plan.names;
    let now = if bound.token_endpoint == plan.token_endpoint {
        match names.client.as_str() {
            "" => "another client".to_owned(),
            secret => format!("another client (Secret {secret} or spec.oauth2.clientID)"),
        }
    } else {
        format!("the token endpoint {}", plan.token_endpoint)
    };
    let go_on = match &names.sign_in {
        Some(way) => format!("Or go on with the new one: {}", lower_first(&sign_in(way, names))),
        None => format!(
            "Or go on with the new one and put a refresh token of its own into Secret {}: {}",
            seed_place(names),
            patch_seed(names)
        ),
    };
    format!(
        "The stored grant for {} belongs to client {} at {}, and the asset now names {now}. A refresh token is never sent to another one. Put the former back: its \
         grant is kept. {go_on}",
        names.email, bound.client_id, bound.token_endpoint
    )
}

/// The grant belongs to another client or endpoint, and the seed that was to replace it was refused under the new one.
#[must_use]
pub(super) fn seed_of_new_client_was_refused(bound: &Binding, names: &Names) -> String {
    format!(
        "{} does not accept the refresh token in Secret {} from the client that the asset names now. The stored grant belongs to client {} at {} and is kept: put \
         that client back. Or go on with the new client: {}",
        names.provider,
        seed_place(names),
        bound.client_id,
        bound.token_endpoint,
        lower_first(&new_seed(names))
    )
}

/// Somebody else's Secret has the name that ours should have.
#[must_use]
pub(super) fn foreign_token_secret(found: &str, names: &Names) -> String {
    format!(
        "{} Choose another name in spec.secret.name, delete the Secret, or hand it over, which replaces it: {}",
        foreign_secret(&names.token_secret, found),
        hand_over(&names.token_secret, names)
    )
}

/// Somebody else's Secret has the name that the grant Secret must have.
#[must_use]
pub(super) fn foreign_grant_secret(found: &str, names: &Names) -> String {
    format!(
        "{} The grant of this asset has to be stored under that name. Delete the Secret, or hand it over, which replaces it: {}",
        foreign_secret(&names.grant_secret, found),
        hand_over(&names.grant_secret, names)
    )
}

fn foreign_secret(secret: &str, found: &str) -> String {
    format!("Secret {secret} exists and is not ours ({found}). It is left alone, and no token is fetched.")
}

fn hand_over(secret: &str, names: &Names) -> String {
    let (namespace, name) = split(secret);
    let (_, asset) = split(&names.asset);
    format!("kubectl annotate secret -n {namespace} {name} emailasset.dev/adopt={asset}")
}

/// Another asset redeems the same rotating seed.
#[must_use]
pub(super) fn seed_of_another(owner: &str, names: &Names) -> String {
    let (namespace, name) = split(&names.asset);
    format!(
        "The refresh token in Secret {} is used by EmailAsset {owner}, which came first. {} replaces a refresh token when it is used, so two assets cannot share \
         one, and nothing is sent. Give this asset a refresh token of its own in another Secret and name that in spec.oauth2.refreshTokenSecretRef: \
         kubectl edit emailasset -n {namespace} {name}",
        seed_place(names),
        names.provider
    )
}

/// A retained grant Secret opens another mailbox.
#[must_use]
pub(super) fn grant_of_another_mailbox(mailbox: &str, names: &Names) -> String {
    let (namespace, name) = split(&names.grant_secret);
    // Somebody may have taken the annotations off it.
    let mailbox = if mailbox.is_empty() {
        "a mailbox that it does not name"
    } else {
        mailbox
    };
    format!(
        "Secret {} holds a grant for {mailbox}, kept from an earlier EmailAsset of this name; this one is for {}, and no token is fetched. Give this asset \
         another name, or if the old grant is not needed any more: kubectl delete secret -n {namespace} {name}",
        names.grant_secret, names.email
    )
}

/// A retained grant Secret belongs to another client.
#[must_use]
pub(super) fn grant_of_another_client(bound: &Binding, names: &Names) -> String {
    let (namespace, name) = split(&names.grant_secret);
    format!(
        "Secret {} holds a grant of client {} at {}, kept from an earlier EmailAsset of this name; this one names another client or token endpoint, and no token \
         is fetched. Put that client back, or if the old grant is not needed any more: kubectl delete secret -n {namespace} {name}",
        names.grant_secret, bound.client_id, bound.token_endpoint
    )
}

/// A Secret of an earlier asset is about to go.
#[must_use]
pub(super) fn waits_for_garbage_collection(names: &Names) -> String {
    format!(
        "An earlier EmailAsset {} was deleted, and the cluster is removing its Secrets {} and {}. This goes on by itself when they are gone; if it takes longer \
         than a minute, something holds them: kubectl get secret -n {} -o custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers",
        names.asset,
        names.token_secret,
        names.grant_secret,
        split(&names.asset).0
    )
}

/// The refresh token was given back before the asset went.
#[must_use]
pub fn revoked(names: &Names) -> String {
    format!(
        "{} has taken the refresh token of {} back: nothing that was stored for it opens the mailbox any more, but an access token that is still valid until it expires.",
        names.provider, names.email
    )
}

/// The refresh token was not given back, for a reason that is a sentence.
#[must_use]
pub fn not_revoked(reason: &str, names: &Names) -> String {
    format!(
        "The refresh token of {} was not given back to {}, and the asset goes without that. {reason} To end the access, remove the app from the account at {}, or \
         delete the OAuth client.",
        names.email, names.provider, names.provider
    )
}

/// The provider could not be reached for too long.
#[must_use]
pub(super) fn not_revoked_in_time(names: &Names) -> String {
    format!("{} did not take it within five minutes.", names.provider)
}

/// An input is missing that is needed for giving the token back.
#[must_use]
pub(super) fn not_revoked_without(problem: &str) -> String {
    format!("What is needed for that is missing: {problem}")
}

/// The spec cannot be carried out.
#[must_use]
pub(super) fn not_revoked_unplanned(problem: &str) -> String {
    format!("The spec cannot be carried out: {problem}")
}

/// The grant Secret went first.
#[must_use]
pub(super) fn not_revoked_grant_is_gone(names: &Names) -> String {
    format!("Secret {}, where it stood, is gone already.", names.grant_secret)
}

/// The grant belongs to another client.
#[must_use]
pub(super) fn not_revoked_bound_elsewhere(names: &Names) -> String {
    format!(
        "It belongs to another OAuth client or endpoint than the one that the asset names (Secret {}), and is never sent under this one.",
        names.client
    )
}

/// The seed Secret and its key, for a sentence.
#[must_use]
pub fn seed_place(names: &Names) -> String {
    let (secret, key) = seed_and_key(names);
    format!("{secret} (key {key})")
}

/// [`Names::seed`] taken apart.
fn seed_and_key(names: &Names) -> (&str, &str) {
    names
        .seed
        .split_once(", key ")
        .unwrap_or((&names.seed, "refresh_token"))
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("default", name))
}

fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map(|first| first.to_lowercase().chain(letters).collect())
        .unwrap_or_default()
}
