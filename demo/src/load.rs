#![forbid(unsafe_code)]
//! A client for trying Spillway out: some tenants that behave, one that sends too much, and a service that is told to fail now and then.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Parser;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Requests that may be under way; what would be more is not sent.
const UNDER_WAY: usize = 256;

const TIMEOUT: Duration = Duration::from_secs(5);

/// How often it tells what came back.
const REPORT: Duration = Duration::from_secs(10);

/// For so long the service that fails is well, and then ill.
const WELL: Duration = Duration::from_secs(45);
const ILL: Duration = Duration::from_secs(15);

/// Who asks for what: twelve of twenty requests are of a tenant that sends too much.
const MIX: [(&str, u64, &str); 4] = [
    ("acme", 12, "/orders/1"),
    ("globex", 2, "/orders/2"),
    ("initech", 2, "/orders/3"),
    ("hooli", 4, "/payments/4"),
];

/// Sends requests to gateways at a steady rate and says what came back.
#[derive(Debug, Parser)]
#[command(name = "spillway-demo-load", version)]
struct Arguments {
    /// A gateway; several take turns.
    #[arg(long, value_name = "URL", required_unless_present = "check")]
    target: Vec<Url>,
    /// Requests a second, over all gateways.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// End after so many.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Where the upstreams take orders: the service `payments` fails for 15 s of each minute.
    #[arg(long, value_name = "URL")]
    control: Option<Url>,
    /// Send one request there and nothing else: 0 if the answer is a success. For health checks.
    #[arg(long, value_name = "URL", conflicts_with_all = ["target", "requests", "control"])]
    check: Option<Url>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let client = Client::builder().timeout(TIMEOUT).build()?;
    if let Some(url) = arguments.check {
        let status = client.get(url).send().await?.status();
        ensure!(status.is_success(), "{status}");
        return Ok(());
    }
    let mut tasks = JoinSet::new();
    if let Some(control) = &arguments.control {
        let payments = control.join("upstreams/payments").context("--control")?;
        tasks.spawn(fail_now_and_then(client.clone(), payments));
    }
    send(&client, &arguments).await
}

/// Sends until it has sent enough, or for ever.
async fn send(client: &Client, arguments: &Arguments) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / arguments.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let places = Arc::new(Semaphore::new(UNDER_WAY));
    let mut under_way = JoinSet::new();
    let mut seen = Seen::default();
    let mut report = Instant::now() + REPORT;
    for number in 0..arguments.requests.unwrap_or(u64::MAX) {
        ticks.tick().await;
        while let Some(outcome) = under_way.try_join_next() {
            seen.count(outcome?);
        }
        if Instant::now() >= report {
            println!("{seen}");
            seen = Seen::default();
            report += REPORT;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            seen.count("not sent".into());
            continue;
        };
        let gateway = usize::try_from(number)? % arguments.target.len();
        let target = arguments.target.get(gateway).context("no --target")?;
        let (tenant, path) = whose(number);
        let request = client.get(target.join(path)?).header("x-tenant-id", tenant).send();
        under_way.spawn(async move {
            let _place = place;
            match request.await {
                Ok(answer) => answer.status().as_u16().to_string(),
                Err(_) => "no answer".to_owned(),
            }
        });
    }
    while let Some(outcome) = under_way.join_next().await {
        seen.count(outcome?);
    }
    println!("{seen}");
    Ok(())
}

/// The tenant and the path of a request. Each gateway gets the same mix.
fn whose(number: u64) -> (&'static str, &'static str) {
    let all: u64 = MIX.iter().map(|(_, share, _)| share).sum();
    // A step that has no factor in common with `all` visits every place, and mixes the tenants.
    let mut place = (number * 7 + number / all) % all;
    for (tenant, share, path) in MIX {
        if place < share {
            return (tenant, path);
        }
        place -= share;
    }
    ("acme", "/orders/1")
}

/// What came back, by status.
#[derive(Debug, Default)]
struct Seen(BTreeMap<String, u64>);

impl Seen {
    fn count(&mut self, outcome: String) {
        *self.0.entry(outcome).or_default() += 1;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.0.values().sum();
        write!(f, "{all} requests:")?;
        self.0.iter().try_for_each(|(outcome, count)| write!(f, " {outcome} {count}"))
    }
}

/// Makes a service ill and well again, for ever. What it is told is lost where nobody listens.
async fn fail_now_and_then(client: Client, service: Url) {
    for (behaviour, time) in [("{}", WELL), (r#"{"status": 500}"#, ILL)].into_iter().cycle() {
        let order = client.put(service.clone()).header("content-type", "application/json").body(behaviour);
        if let Err(error) = order.send().await {
            eprintln!("{service}: {error}");
        }
        sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_do_not_clash() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_gateway_gets_the_whole_mix() {
        for gateway in 0..2 {
            let mut counts = BTreeMap::<_, u64>::new();
            for number in (gateway..800).step_by(2) {
                *counts.entry(whose(number)).or_default() += 1;
            }
            for (tenant, share, path) in MIX {
                assert_eq!(counts.get(&(tenant, path)), Some(&(share * 20)), "{counts:?}");
            }
        }
    }
}
