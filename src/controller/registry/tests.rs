use serde_json::json;

use super::{Age, Debt, Registry};
use crate::{
    api::{EmailAsset, EmailAssetStatus},
    store::Key,
};

fn asset(version: u32, status: &EmailAssetStatus) -> EmailAsset {
    serde_json::from_value(json!({
        "apiVersion": "emailasset.dev/v1alpha1",
        "kind": "EmailAsset",
        "metadata": {"name": "sales", "namespace": "crm", "uid": "one", "resourceVersion": version.to_string()},
        "spec": {
            "email": "sales@example.com",
            "oauth2": {"grant": "RefreshToken", "clientCredentialsRef": {"name": "client"}, "refreshTokenSecretRef": {"name": "seed", "key": "refresh_token"}},
        },
        "status": status,
    }))
    .unwrap()
}

fn status(generation: i64) -> EmailAssetStatus {
    EmailAssetStatus {
        observed_generation: Some(generation),
        ..EmailAssetStatus::default()
    }
}

fn key() -> Key {
    Key::new("crm", "sales")
}

#[test]
fn a_written_status_counts_until_the_watch_shows_it() {
    let registry = Registry::default();
    let seen = asset(10, &status(1));
    registry.take_in(&key(), &seen);
    registry.wrote_status(&key(), status(2), Some(11));
    let edition = registry.edition(&key(), &seen);
    assert_eq!(edition.status, status(2));
    assert_eq!(
        (edition.version, edition.debt, edition.age),
        (Some(11), Debt::None, Age::Newest)
    );
}

#[test]
fn a_copy_from_before_a_status_that_the_watch_has_shown_is_outdated() {
    let registry = Registry::default();
    let seen = asset(10, &status(1));
    registry.take_in(&key(), &seen);
    registry.wrote_status(&key(), status(2), Some(11));
    let newer = asset(11, &status(2));
    registry.take_in(&key(), &newer);
    assert_eq!(registry.edition(&key(), &seen).age, Age::Outdated);
    let edition = registry.edition(&key(), &newer);
    assert_eq!(edition.status, status(2));
    assert_eq!((edition.version, edition.age), (Some(11), Age::Newest));
}

#[test]
fn a_status_that_was_not_taken_is_owed_over_what_was_seen() {
    let registry = Registry::default();
    let seen = asset(10, &status(1));
    registry.take_in(&key(), &seen);
    registry.could_not_write_status(&key(), status(2));
    let edition = registry.edition(&key(), &seen);
    assert_eq!(edition.status, status(2));
    assert_eq!((edition.version, edition.debt), (Some(10), Debt::Owed));
}
