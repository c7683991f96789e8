//! Between the page and the callback the operator restarts, or another replica takes over: the sign-in still completes.

use serde_json::json;

use crate::support::{Balancer, Browser, Stage, free_address, mailbox};

#[tokio::test]
async fn a_sign_in_completes_when_the_operator_was_killed_and_started_in_between() {
    let stage = Stage::set("restart").await;
    let pages = free_address();
    let mut operator = stage.operator_with_sign_in(pages, pages, &[]).await;
    stage.asset_to_sign_in("support", &json!({})).await;
    let browser = Browser::open().await;
    stage.log_in(&browser, "support", &mailbox("support")).await;
    operator.kill().await;
    drop(operator);
    let _operator = stage.operator_with_sign_in(pages, pages, &[]).await;
    stage.consent(&browser, "support").await;
    stage.wait_until_ready("support").await;
    stage.assert_token_works("support").await;
}

#[tokio::test]
async fn a_sign_in_completes_at_another_replica_when_the_leader_was_killed_in_between() {
    let stage = Stage::set("leader").await;
    let [first_pages, second_pages] = [free_address(), free_address()];
    let balancer = Balancer::to(first_pages).await;
    let mut first = stage.operator_with_sign_in(balancer.address, first_pages, &[]).await;
    let second = stage.replica_with_sign_in(balancer.address, second_pages).await;
    stage.asset_to_sign_in("support", &json!({})).await;
    let browser = Browser::open().await;
    stage.log_in(&browser, "support", &mailbox("support")).await;
    first.kill().await;
    balancer.direct_to(second_pages);
    stage.consent(&browser, "support").await;
    second.wait_for_line("somebody signed in").await;
    stage.wait_until_ready("support").await;
    stage.assert_token_works("support").await;
}

#[tokio::test]
async fn page_and_callback_are_answered_by_a_replica_that_does_not_lead() {
    let stage = Stage::set("standby").await;
    let [first_pages, second_pages] = [free_address(), free_address()];
    let balancer = Balancer::to(second_pages).await;
    let first = stage.operator_with_sign_in(balancer.address, first_pages, &[]).await;
    first.wait_for_line("leading").await;
    let second = stage.replica_with_sign_in(balancer.address, second_pages).await;
    stage.asset_to_sign_in("support", &json!({})).await;
    let browser = Browser::open().await;
    stage.sign_in(&browser, "support", &mailbox("support")).await;
    second.wait_for_line("somebody signed in").await;
    stage.wait_until_ready("support").await;
    stage.assert_token_works("support").await;
}
