//! The real parts, started for tests, and ways to wait for what they do.
//!
//! - [`Cluster`]: etcd, kube-apiserver and kube-controller-manager; one for all tests of a run, a namespace for each.
//! - [`AuthorizationServer`]: oidc-provider over TLS, with its faults and counters.
//! - [`Realm`]: a realm at Keycloak. [`Glewlwyd`]: a server that says nothing of its errors. Both only in the tests of `make test-servers`.
//! - [`Browser`]: headless Chromium, with hands for the pages of the authorization server.
//! - [`Operator`]: the operator's process, and signals to it.
//! - [`Deployed`]: what `deploy/` installs, and the operator as its Deployment would start it.
//! - [`Certificates`]: the authority that all TLS of the tests hangs on.
//! - [`wait_for`], [`until`]: no test sleeps; it waits for something to be seen, for a limited time.
//!
//! Everything lives in one folder per run below `target/tmp/e2e`, which is kept until the next run for a look at the
//! logs. No part outlives the test process, however that ends: the cluster and the authorization server end with their
//! standard input, Keycloak and glewlwyd by a shell that waits for the end of its own, the operator by the kernel's parent-death signal.

#![allow(
    dead_code,
    unused_imports,
    reason = "a toolbox: not every tool is in use at every commit"
)]

mod authorization_server;
mod balancer;
mod browser;
mod certificates;
mod cluster;
mod deploy;
mod glewlwyd;
mod guarded;
mod keycloak;
#[path = "../../leaks/search.rs"]
pub(crate) mod leaks;
mod measurements;
mod operator;
mod run;
mod shared_stage;
mod sign_in_stage;
mod sign_ins;
mod stage;
mod wait;

pub(crate) use authorization_server::{
    Action, AuthorizationServer, Fault, Introspection, Match, RegisteredClient, Rotation, Step,
};
pub(crate) use balancer::Balancer;
pub(crate) use browser::Browser;
pub(crate) use certificates::Certificates;
pub(crate) use cluster::Cluster;
pub(crate) use deploy::{Deployed, apply_deployment};
pub(crate) use glewlwyd::{Glewlwyd, Reuse};
pub(crate) use keycloak::Realm;
pub(crate) use measurements::{Table, record};
pub(crate) use operator::{Operator, OperatorOptions};
pub(crate) use run::{free_address, note_secret, random_suffix, run_directory};
pub(crate) use shared_stage::{SharedStage, commands};
pub(crate) use sign_in_stage::{BUTTON, LOOPBACK_REDIRECT, SignInStage, origin, sign_in};
pub(crate) use sign_ins::Twist;
pub(crate) use stage::{CLIENT, Stage, condition, generation_of, install_crds, mailbox, text};
pub(crate) use wait::{until, wait_for, wait_until_gone};
