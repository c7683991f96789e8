//! A token server that does not answer: is anybody else late?

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::{
    ground::{Ground, Rotation, name, seed},
    meter::{number, percentile},
    support::{Action, AuthorizationServer, Fault, Table, record},
};

/// Renewed with a third of it left, and up to a tenth earlier: each asset about every minute, all spread over 9 seconds.
const LIFE: u32 = 90;

/// 100 of 1,000 assets are at a server that holds each request for longer than the operator waits.
pub(crate) async fn measure() {
    let (all, slow) = (number("SLOW_ALL", "1000"), number("SLOW_HANGING", "100"));
    let cycles = number("SLOW_CYCLES", "2");
    let ground = Ground::empty(Rotation::None).await;
    let hanging = AuthorizationServer::start_plain().await;
    hanging.set_rotation(crate::support::Rotation::None).await;
    for server in [&ground.server, &hanging] {
        server.set_access_token_lifetime(LIFE).await;
        server.log_requests().await;
    }
    ground
        .add_assets(0..slow, Rotation::None, &hanging.endpoints.token_url)
        .await;
    ground
        .add_assets(slow..all, Rotation::None, &ground.server.endpoints.token_url)
        .await;
    let progress = ground.follow().await;
    let _operator = ground.operator();
    progress.all_ready(all).await;
    let hang = Fault {
        times: None,
        delay: 120_000,
        action: Action::Drop,
        ..Fault::default()
    };
    hanging.inject(hang).await;

    let tokens = i64::try_from(cycles).expect("few") + 1;
    progress
        .reach(all - slow, "were refreshed", |view| view.tokens >= tokens)
        .await;
    let late = lateness(&ground, &progress, slow..all, cycles).await;
    let held = hanging.counters().await;

    let mut table = Table::new(&[
        "refreshes",
        "late: median s",
        "p99 s",
        "most s",
        "requests that hung meanwhile",
    ]);
    table.row([
        late.len().to_string(),
        format!("{:.2}", percentile(&late, 0.5)),
        format!("{:.2}", percentile(&late, 0.99)),
        format!("{:.2}", percentile(&late, 1.0)),
        (held.token_requests - slow as u64).to_string(),
    ]);
    let text = format!(
        "{slow} of {all} assets are at a token server that answers nothing; each request is given up after 30 s. How late are the refreshes of the others? From the \
         renewal time that the status announced to the token request. Tokens live {LIFE} s; {cycles} refreshes each. Goal: p99 at most 2 s.\n\n{}",
        table.to_markdown()
    );
    record("A token server that hangs", &text);
    assert!(late.len() >= (all - slow) * cycles, "every refresh was found");
}

/// How long after its announced time each refresh was requested, in seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this century")]
async fn lateness(
    ground: &Ground,
    progress: &crate::ground::Progress,
    numbers: std::ops::Range<usize>,
    cycles: usize,
) -> Vec<f64> {
    let mut requests: HashMap<String, Vec<f64>> = HashMap::new();
    for request in ground.server.requests_since(0).await {
        let token = request.parameters.get("refresh_token").cloned().unwrap_or_default();
        requests.entry(token).or_default().push(request.at as f64 / 1000.0);
    }
    let views = progress.views();
    let mut late = Vec::new();
    for number in numbers {
        let hash = format!("{:x}", Sha256::digest(seed(number)));
        // The first request is for the first token; each later one was announced by the status before it.
        let later = requests.get(&format!("sha256:{hash}")).into_iter().flatten().skip(1);
        let announced = views.get(&name(number)).into_iter().flat_map(|view| &view.renewals);
        late.extend(
            announced
                .zip(later)
                .take(cycles)
                .map(|(&announced, &request)| request - announced as f64),
        );
    }
    late
}
