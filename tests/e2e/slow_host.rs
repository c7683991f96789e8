//! A token server that accepts requests and does not answer delays its own assets and no other (invariant 7).

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{AuthorizationServer, CLIENT, Fault, Rotation, Stage};

/// As many requests at a time as one host gets (`--requests-per-host`).
const WIDTH: u32 = 16;
/// More than that: some wait for their turn at the server that hangs.
const STUCK: usize = 20;
const WELL: usize = 40;

#[tokio::test]
async fn assets_at_a_server_that_hangs_delay_no_others() {
    let stage = Stage::set("slow").await;
    stage.server.set_rotation(Rotation::None).await;
    let hanging = AuthorizationServer::start_plain().await;
    hanging.set_rotation(Rotation::None).await;
    let fault = hanging
        .inject(Fault {
            times: None,
            hang: true,
            ..Fault::default()
        })
        .await;
    // Nothing that hangs is given up during this test, however slow the machine is.
    let width = WIDTH.to_string();
    let _operator = stage
        .operator_with(&["--token-timeout", "1h", "--requests-per-host", &width], &[])
        .await;

    let stuck: Vec<String> = (0..STUCK).map(|number| format!("stuck-{number}")).collect();
    put_secret_for(
        &stage,
        &hanging,
        "hanging",
        &json!({"client_id": CLIENT, "client_secret": "s"}),
    )
    .await;
    for name in &stuck {
        put_secret_for(
            &stage,
            &hanging,
            &format!("{name}-seed"),
            &json!({"refresh_token": name}),
        )
        .await;
        let endpoint = json!({"oauth2": {
            "tokenURL": hanging.endpoints.token_url, "clientCredentialsRef": {"name": "hanging"},
        }});
        stage.apply(&stage.manifest(name, "None", &endpoint)).await;
    }
    fault.wait_until_held(WIDTH).await;

    let well: Vec<String> = (0..WELL).map(|number| format!("well-{number}")).collect();
    for name in &well {
        stage.seed(name).await;
        stage.apply(&stage.manifest(name, "None", &json!({}))).await;
    }
    join_all(well.iter().map(|name| stage.wait_until_ready(name))).await;
    join_all(well.iter().map(|name| stage.request_refresh(name, "again"))).await;
    join_all(well.iter().map(|name| stage.wait_for_generation(name, 2))).await;
    assert_eq!(
        fault.hits().await,
        u64::from(WIDTH),
        "all that time the same requests hung, and no more than one host may get"
    );

    fault.release().await;
    join_all(stuck.iter().map(|name| stage.wait_until_ready(name))).await;
}

/// A Secret whose credentials may go to this server.
async fn put_secret_for(stage: &Stage, server: &AuthorizationServer, name: &str, data: &serde_json::Value) {
    let host = server.endpoints.url.trim_start_matches("https://");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": data,
        "metadata": {"name": name, "annotations": {"emailasset.dev/hosts": host}},
    });
    stage
        .secrets
        .patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&secret))
        .await
        .expect("a Secret can be made");
}
