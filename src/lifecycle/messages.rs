//! What people read in conditions: the thing, what was found, what it means and the next step.
//!
//! Messages about one answer of a provider are made where the answer is classified; these are about how an asset stands.

use super::world::{Binding, Names, Plan};

/// Refreshed is True.
pub(super) const REFRESHED: &str = "The last refresh worked.";
/// A token has expired and its refresh is due.
pub(super) const REFRESH_IS_DUE: &str = "The refresh is due now.";

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

/// Authorized is Unknown.
#[must_use]
pub(super) fn grant_not_tried(names: &Names) -> String {
    format!("The refresh token in Secret {} has not been redeemed yet.", names.seed)
}

/// The first token is on its way.
#[must_use]
pub(super) fn pending(names: &Names) -> String {
    format!("The first access token for {} is on its way.", names.email)
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
    let (namespace, name) = split(&names.asset);
    format!(
        "There is no valid access token, and none is fetched while spec.suspend is true. To go on: \
         kubectl patch emailasset -n {namespace} {name} --type merge -p '{{\"spec\":{{\"suspend\":false}}}}'"
    )
}

/// The provider refused the grant and no valid token is left.
#[must_use]
pub(super) fn grant_is_refused(why: &str, names: &Names) -> String {
    let step = new_seed(names);
    if why.contains(&step) {
        why.to_owned()
    } else {
        format!("{why} {step}").trim_start().to_owned()
    }
}

/// The next step where only a new refresh token helps.
#[must_use]
pub fn new_seed(names: &Names) -> String {
    format!(
        "Put a new refresh token for {} into Secret {}.",
        names.email, names.seed
    )
}

/// The seed in sight was refused or used up, and there is no other grant.
#[must_use]
pub(super) fn seed_was_refused(names: &Names) -> String {
    format!(
        "The refresh token in Secret {} was sent before and is not accepted (any more). {}",
        names.seed,
        new_seed(names)
    )
}

/// A new seed was refused, and the grant in use goes on.
#[must_use]
pub(super) fn seed_rejected(names: &Names) -> String {
    format!(
        "{} refused the new refresh token in Secret {}. The grant in use goes on working; nothing is lost. Put a working refresh token there, or put the \
         former one back.",
        names.provider, names.seed
    )
}

/// The grant belongs to another client or endpoint.
#[must_use]
pub(super) fn client_changed(bound: &Binding, plan: &Plan) -> String {
    format!(
        "The stored grant belongs to client {} at {}, and the asset now names another client or token endpoint ({}). A refresh token is never sent to another \
         one. Put a refresh token of the new client into Secret {}, or put the former client back: its grant is kept.",
        bound.client_id, bound.token_endpoint, plan.token_endpoint, plan.names.seed
    )
}

/// Somebody else's Secret has the name that ours should have.
#[must_use]
pub(super) fn foreign_secret(secret: &str, found: &str, names: &Names) -> String {
    let (namespace, name) = split(secret);
    let (_, asset) = split(&names.asset);
    format!(
        "Secret {secret} exists and is not ours ({found}); it is left alone, and no token is fetched. Choose another name in spec.secret.name, delete the \
         Secret, or hand it over, which replaces it: kubectl annotate secret -n {namespace} {name} emailasset.dev/adopt={asset}"
    )
}

/// An older asset redeems the same rotating seed.
#[must_use]
pub(super) fn seed_of_another(owner: &str, names: &Names) -> String {
    format!(
        "The refresh token in Secret {} is used by EmailAsset {owner}, which is older. This provider replaces a refresh token when it is used, so two assets \
         cannot share one. Give this asset a refresh token of its own.",
        names.seed
    )
}

/// A retained grant Secret opens another mailbox.
#[must_use]
pub(super) fn grant_of_another_mailbox(mailbox: &str, names: &Names) -> String {
    let (namespace, name) = split(&names.grant_secret);
    format!(
        "Secret {} holds a grant for {mailbox}, kept from an earlier EmailAsset of this name; this one is for {}. If the old grant is not needed any more: \
         kubectl delete secret -n {namespace} {name}",
        names.grant_secret, names.email
    )
}

/// A retained grant Secret belongs to another client.
#[must_use]
pub(super) fn grant_of_another_client(bound: &Binding, names: &Names) -> String {
    let (namespace, name) = split(&names.grant_secret);
    format!(
        "Secret {} holds a grant of client {} at {}, kept from an earlier EmailAsset of this name; this one names another client or token endpoint. Put that \
         client back, or if the old grant is not needed any more: kubectl delete secret -n {namespace} {name}",
        names.grant_secret, bound.client_id, bound.token_endpoint
    )
}

/// A Secret of an earlier asset is about to go.
#[must_use]
pub(super) fn waits_for_garbage_collection(names: &Names) -> String {
    format!(
        "An earlier EmailAsset {} was deleted; its Secrets are being removed. This goes on when they are gone.",
        names.asset
    )
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("default", name))
}
