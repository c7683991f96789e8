//! What `kubectl emailasset authorize` hands over: short-lived Secrets of type `emailasset.dev/authorization-response`.
//!
//! The leader takes each one once: reads it, deletes it, and completes the sign-in. Whoever may create Secrets in the namespace may make one, so nothing in it is
//! believed: the code is redeemed with the asset's own client at its own endpoint, and the account is proven as after any sign-in.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tracing::{debug, warn};
use url::{Host, Url};

use super::{
    consent,
    context::{Context, reference},
    redeem::Chain,
};
use crate::{
    api::names::response_keys,
    lifecycle::SignInRefusal,
    signin::Consent,
    store::{Contents, Key, Kind, StoreError, What},
};

/// Takes what is there: this replica leads from now on.
pub(super) fn take_all(context: &Arc<Context>) {
    for key in context.index.of_kind(Kind::Response) {
        take(context, key);
    }
}

/// Takes one, if this replica leads.
pub(super) fn take(context: &Arc<Context>, key: Key) {
    if context.fence.open().is_none() || context.stopping.is_cancelled() {
        return;
    }
    let context = Arc::clone(context);
    context.tracker.clone().spawn(async move {
        context.caches_are_synced().await;
        if let Some((asset, response)) = claim(&context, &key).await {
            answer(&context, &asset, &response).await;
        }
    });
}

/// Reads the Secret and deletes it. None: somebody else has, or it cannot be read. A change of leader, or the first list of a watch, may bring one Secret here twice;
/// a code that is sent twice ends the grant that it gave (RFC 6749 section 4.1.2).
async fn claim(context: &Context, key: &Key) -> Option<(Key, Contents)> {
    let contents = match context.secrets.read(key).await {
        Ok(contents) => contents?,
        Err(error) => {
            warn!(secret = %key, error = %Chain(&error), "an authorization response cannot be read");
            return None;
        }
    };
    let What::Response { asset } = contents.seen.what() else {
        return None;
    };
    let asset = Key::new(&key.namespace, asset.as_deref().unwrap_or_default());
    if contents.seen.deleting {
        return None;
    }
    // Deleted first: a code can be used once only, and must lie about no longer than needed.
    match context.secrets.claim(key, &contents.seen).await {
        Ok(()) => {
            context.index.forget(key, &contents.seen.uid);
            Some((asset, contents))
        }
        Err(StoreError::Conflict(_)) => {
            debug!(secret = %key, "an authorization response is taken already");
            None
        }
        Err(error) => {
            warn!(secret = %key, error = %Chain(&error), "an authorization response cannot be deleted, and is not used");
            None
        }
    }
}

async fn answer(context: &Arc<Context>, asset: &Key, response: &Contents) {
    if context.assets.get(&reference(asset)).is_none() {
        debug!(%asset, "an authorization response names no EmailAsset");
        return;
    }
    let ended = match consent_of(context, asset, response) {
        Ok(consent) => consent::complete(context, consent).await,
        Err(refusal) => {
            let refused = Err(refusal);
            context.count_sign_in(&refused);
            refused
        }
    };
    if let Err(refusal) = ended {
        // Each is noted, also the same once more: the plugin waits for it, and to make a Secret takes more than a link.
        consent::note_refusal(context, asset, &refusal).await;
    }
}

fn consent_of(context: &Arc<Context>, asset: &Key, response: &Contents) -> Result<Consent, SignInRefusal> {
    let text = |key: &str| {
        response.text(key).map_err(|_| {
            consent::failed(format!(
                "A Secret with an authorization response for this asset has no usable key {key}; nothing was changed. Use kubectl emailasset authorize."
            ))
        })
    };
    let plain = |key: &str| text(key).map(|value| value.expose_secret().to_owned());
    let redirect_uri = plain(response_keys::REDIRECT_URI)?;
    if !is_loopback(&redirect_uri) {
        return Err(consent::failed(
            "A Secret with an authorization response for this asset names a redirect URI that is not on a loopback address; nothing was changed. Use kubectl emailasset authorize.",
        ));
    }
    let granted = granted(response)?;
    if consent::granted_now(context, asset) > granted {
        return Err(SignInRefusal::Superseded);
    }
    let sign_in = consent::sign_in_of(context, asset)?;
    let named: Option<SecretString> = response.text(response_keys::ISSUER).ok();
    consent::check_issuer(&sign_in, named.as_ref().map(ExposeSecret::expose_secret))?;
    Ok(Consent {
        namespace: asset.namespace.to_string(),
        name: asset.name.to_string(),
        uid: plain(response_keys::ASSET_UID)?,
        code: text(response_keys::CODE)?,
        verifier: text(response_keys::CODE_VERIFIER)?,
        issuer: named.map(|named| named.expose_secret().to_owned()),
        redirect_uri,
        nonce: plain(response_keys::NONCE)?,
        callback_key: sign_in.callback_key,
        granted,
    })
}

/// When the grant was given that the plugin saw before the sign-in began. None: it saw none, so none may be replaced.
fn granted(response: &Contents) -> Result<Option<Timestamp>, SignInRefusal> {
    let Ok(text) = response.text(response_keys::GRANT_TIME) else {
        return Ok(None);
    };
    text.expose_secret().parse().map(Some).map_err(|_| {
        consent::failed(
            "A Secret with an authorization response for this asset has a grant_time that is no RFC 3339 time; nothing was changed. Use kubectl emailasset authorize.",
        )
    })
}

/// RFC 8252 section 7.3: plain http is for loopback alone.
fn is_loopback(redirect_uri: &str) -> bool {
    let Ok(url) = Url::parse(redirect_uri) else {
        return false;
    };
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    loopback && url.scheme() == "http"
}
