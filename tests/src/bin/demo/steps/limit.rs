//! The token bucket.

use anyhow::{Context as _, Result, ensure};
use spillway_tests::load::Load;
use spillway_tests::wait;

use crate::narrator::{Narrator, thousands};
use crate::stage::Stage;

const RULE: &str = "rate-limit/orders-protection/per-tenant";
const REQUESTS: usize = 500;
/// What demo/documents/protection.yaml says.
const RATE: f64 = 10.0;
const BURST: usize = 20;

/// One tenant sends far too much; another is not affected.
pub(super) fn enforced(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    let url = format!("{}/orders/acme/7", stage.url);
    narrator.doing(&format!("{REQUESTS} requests of the tenant acme as fast as they go; 10 a second and {BURST} saved up are allowed"));
    let report = Load::get(&url).requests(REQUESTS).run(&stage.client)?;
    let others = report.other_than(&[200, 429]);
    ensure!(others.is_empty(), "answers other than 200 and 429: {others:?}");
    let (admitted, rejected) = (report.count(200), report.count(429));
    ensure!(rejected > 0, "nothing was rejected");
    let named = report.records.iter().filter_map(|r| r.outcome.as_ref().ok()?.rejected_by.as_deref());
    ensure!(named.filter(|rule| *rule == RULE).count() == rejected, "not every reject names {RULE}");
    // The bucket was full, and got no more than this meanwhile; one more for the token that was nearly there.
    let refilled = report.elapsed().as_secs_f64() * RATE;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few tokens")]
    let most = BURST + refilled.ceil() as usize;
    ensure!((BURST..=most).contains(&admitted), "{admitted} were admitted; {BURST} to {most} would be right");
    narrator.seen(&format!(
        "{admitted} admitted in {:.2} s, {} rejected with 429 by {RULE}",
        report.elapsed().as_secs_f64(),
        thousands(rejected)
    ));

    // The filter counts in its workers and adds up from time to time, so that no request pays for it.
    let metric = "spillway_rejected.kind.rate-limit.policy.orders-protection.rule.per-tenant";
    wait::until("Envoy's statistics", || {
        let counted: u64 = stage.envoy.stats(metric)?.values().sum();
        ensure!(
            usize::try_from(counted)? == rejected,
            "{counted} rejects by this rule are counted, not {rejected}"
        );
        Ok(())
    })?;
    narrator.seen("Envoy's statistics count as many rejects by this rule");

    // Tokens flow in meanwhile: a few more requests, and the bucket is empty again.
    let answer = wait::until("another reject", || {
        let answer = stage.client.get(&url, &[])?;
        ensure!(answer.status == 429, "one more request was answered with {}", answer.status);
        Ok(answer)
    })?;
    let wait: u64 = answer.header("retry-after").context("429 without retry-after")?.parse()?;
    ensure!(wait >= 1, "retry-after: {wait}");
    let other = stage.client.get(&format!("{}/orders/hooli/7", stage.url), &[])?;
    ensure!(other.status == 200, "the tenant hooli got {}", other.status);
    narrator.seen(&format!("acme is told retry-after: {wait}; the tenant hooli is served as ever"));
    Ok(())
}
