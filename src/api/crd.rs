//! The CustomResourceDefinition, made from the types of this room.
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The definition to install.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    super::EmailAsset::crd()
}

/// As YAML.
#[must_use]
pub fn crd_yaml() -> String {
    String::new()
}
