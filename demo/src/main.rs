#![forbid(unsafe_code)]
//! The small upstream of the demo and of the end-to-end tests: it says its name, shows the headers that it received, and can be
//! told while it runs to fail, to dawdle or to reset connections.
//!
//! It is no test double for Envoy or for Spillway: it only stands where a user's own service would stand.

mod behaviour;
mod control;
mod resettable;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::behaviour::Upstream;

/// An HTTP service that says its name, and fails or dawdles when told to.
///
/// Several services fit in one process: repeat `--name` and `--listen`, the first name goes with the first address.
#[derive(Debug, Parser)]
#[command(name = "spillway-demo-upstream", version)]
struct Arguments {
    /// What the service calls itself in its answers.
    #[arg(long, required = true)]
    name: Vec<String>,
    /// Where it listens; port 0 takes a free one.
    #[arg(long, required = true, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// Where it takes orders: `GET /upstreams` shows every service, `PUT /upstreams/NAME` tells one how to behave.
    #[arg(long, value_name = "ADDRESS:PORT")]
    control: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    anyhow::ensure!(
        arguments.name.len() == arguments.listen.len(),
        "as many --name as --listen are needed, found {} and {}",
        arguments.name.len(),
        arguments.listen.len()
    );
    let mut servers = JoinSet::new();
    let mut upstreams = Vec::new();
    for (name, address) in arguments.name.into_iter().zip(arguments.listen) {
        let upstream = Arc::new(Upstream::new(name));
        let listener = bind(address).await?;
        announce(&upstream.name, listener.local_addr()?);
        servers.spawn(service::serve(listener, Arc::clone(&upstream)));
        upstreams.push(upstream);
    }
    if let Some(address) = arguments.control {
        let listener = bind(address).await?;
        announce("control", listener.local_addr()?);
        servers.spawn(control::serve(listener, upstreams));
    }
    // A server ends only when its listener breaks; the others would hide that if they went on.
    while let Some(ended) = servers.join_next().await {
        ended.context("a server stopped")??;
    }
    Ok(())
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// One JSON line for each listener on standard output, so that whoever asked for port 0 learns the port.
fn announce(name: &str, address: SocketAddr) {
    println!("{}", json!({ "listening": name, "address": address.to_string() }));
}
