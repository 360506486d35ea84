//! `spillway explain`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use spillway_policy::engine::{Engine, Verdict};
use spillway_policy::store::Memory;

mod report;
mod request;
mod routing;

use self::report::{BackendShare, Explanation, Listening, Outcome, Route, Rule};
use self::request::Request;
use self::routing::Matched;
use super::files;
use super::output::Output;
use crate::document::suggest_name;
use crate::model::Model;

/// Any moment will do, as long as it is the same.
const NOW: u64 = 1_000_000_000;

/// Shows what becomes of a request: which route serves it, its route key, and what every rule says about it, in order.
///
/// The documents of a directory are asked, not a proxy: rules answer as in a proxy that has had no request yet, with full buckets, closed breakers and nothing in flight.
/// Exits with 0 if the request was explained (whatever becomes of it), 1 if a document has an error, 2 if the question cannot be answered.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The directory of documents
    #[arg(long, value_name = "DIR")]
    config: std::path::PathBuf,
    /// Whose proxies get the request [default: the only fleet there is]
    #[arg(long, value_name = "F")]
    fleet: Option<String>,
    /// The request: a method and a URL, or only a URL for a GET
    #[arg(long, value_name = "METHOD URL")]
    request: String,
    /// A header, `name: value`; can be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// The listener that gets it, by name, or by `gateway/name` [default: each one that serves the URL's host]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// The client's address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client_address: std::net::IpAddr,
    /// The server name of the client's TLS handshake [default: the host of an https URL]
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The Backend that the route chooses, where there are several [default: the one with the most weight]
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(model) = files::load(&self.config)? else { return Ok(ExitCode::FAILURE) };
        let mut request = Request::parse(&self.request, &self.headers).context("--request")?;
        request.client_address = Some(self.client_address.to_string());
        request.server_name = self.sni.clone().or(request.server_name);
        let explanations = self.explain(&model, &request)?;
        self.output.show(&explanations, |explanations| {
            explanations.iter().map(Explanation::to_string).collect::<Vec<_>>().join("\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// One explanation for each listener that may get the request, and for each Gateway whose listeners are not Spillway's.
    fn explain(&self, model: &Model, request: &Request) -> anyhow::Result<Vec<Explanation>> {
        let fleet = self.fleet(model)?;
        let mut listeners = routing::listeners(model, fleet, request);
        if let Some(wanted) = &self.listener {
            listeners.retain(|(gateway, listener)| {
                *wanted == listener.name || *wanted == format!("{gateway}/{}", listener.name)
            });
        }
        let mut explanations = Vec::new();
        for (gateway, listener) in listeners {
            let mut request = request.clone();
            request.filter_chain = Some(listener.name.clone());
            let listening = Listening {
                gateway: gateway.to_owned(),
                listener: Some(listener.name.clone()),
                address: Some(std::net::SocketAddr::new(listener.address, listener.port.get()).to_string()),
            };
            if let Some(early) = request.tidy() {
                explanations.push(Explanation::early(listening, &request, &early));
                continue;
            }
            let attachments: Vec<_> = model.routes_of(gateway, listener).collect();
            if let Some(configuration) = model.key_configuration(gateway) {
                let mut engine =
                    Engine::new(configuration).context("the filter would refuse its configuration")?;
                let said = engine.explain(&request, &mut Memory::default(), NOW);
                request.early_key = said.route_key.and_then(|(_, key)| String::from_utf8(key?).ok());
            }
            let matched = routing::find(&attachments, &request);
            explanations.push(self.ask(model, listening, request, matched.as_ref())?);
        }
        let elsewhere = model.gateways_of(fleet).filter(|(_, gateway)| gateway.listeners.is_empty());
        for (gateway, _) in elsewhere.filter(|_| self.listener.is_none()) {
            let mut request = request.clone();
            let listening = Listening { gateway: gateway.to_owned(), listener: None, address: None };
            request.backend.clone_from(&self.backend);
            explanations.push(match request.tidy() {
                Some(early) => Explanation::early(listening, &request, &early),
                None => self.ask(model, listening, request, None)?,
            });
        }
        if explanations.is_empty() {
            bail!("{}", self.nobody(model, fleet, request));
        }
        Ok(explanations)
    }

    fn fleet<'a>(&'a self, model: &'a Model) -> anyhow::Result<&'a str> {
        let fleets = model.fleets();
        let names = || fleets.keys().copied().collect::<Vec<_>>().join(", ");
        match &self.fleet {
            Some(fleet) if fleets.contains_key(fleet.as_str()) => Ok(fleet),
            Some(fleet) => {
                let help = suggest_name(fleet, fleets.keys().copied());
                let help = help.unwrap_or_else(|| format!("fleets are: {}", names()));
                bail!("--fleet: no Gateway is for the fleet `{fleet}` ({help})")
            }
            None => match fleets.keys().collect::<Vec<_>>().as_slice() {
                [only] => Ok(only),
                [] => bail!("there is no Gateway in {}", self.config.display()),
                _ => bail!("--fleet: there are several fleets, say which: {}", names()),
            },
        }
    }

    /// Why no listener gets the request.
    fn nobody(&self, model: &Model, fleet: &str, request: &Request) -> String {
        let known: Vec<String> = model
            .gateways_of(fleet)
            .flat_map(|(name, gateway)| {
                gateway.listeners.iter().map(move |listener| {
                    let host = listener.hostname.as_deref().unwrap_or("*");
                    format!("{name}/{} (port {}, host {host})", listener.name, listener.port)
                })
            })
            .collect();
        let wanted = match &self.listener {
            Some(listener) => format!("`{listener}` is not one that serves the host `{}`", request.host),
            None => format!("none serves the host `{}`", request.host),
        };
        format!("of the listeners of the fleet `{fleet}`, {wanted}; there are: {}", known.join(", "))
    }

    fn ask(
        &self,
        model: &Model,
        listening: Listening,
        mut request: Request,
        matched: Option<&Matched<'_>>,
    ) -> anyhow::Result<Explanation> {
        let route = matched.map(|matched| self.route(matched)).transpose()?;
        if let Some(route) = &route {
            request.route_name = Some(route.name.clone());
            request.backend =
                route.backends.iter().find(|share| share.explained).map(|share| share.name.clone());
        }
        let mut engine = Engine::new(model.filter_configuration(&listening.gateway))
            .context("the filter would refuse its configuration")?;
        let mut store = Memory::default();
        let said = engine.explain(&request, &mut store, NOW);
        let decision = engine.decide(&request, &mut store, NOW);
        let outcome = match (decision.verdict, &route) {
            (Verdict::Reject(reject), _) => Outcome::Rejected {
                status: reject.status,
                by: format!("{}/{}/{}", reject.kind.as_str(), reject.policy, reject.rule),
                retry_after: reject.retry_after_secs,
            },
            (Verdict::Admit(_), None) if listening.listener.is_none() => Outcome::Admitted { backend: None },
            (Verdict::Admit(_), None) => {
                Outcome::Answered { status: 404, because: "no rule matches".to_owned() }
            }
            (Verdict::Admit(_), Some(_)) => match (matched.and_then(Matched::redirects), &request.backend) {
                (Some(status), _) => Outcome::Answered { status, because: "the rule redirects".to_owned() },
                (None, Some(backend)) => Outcome::Admitted { backend: Some(backend.clone()) },
                (None, None) => Outcome::Answered {
                    status: 500,
                    because: "no backend of the rule has a weight above 0".to_owned(),
                },
            },
        };
        Ok(Explanation {
            listening,
            request: (&request).into(),
            route,
            route_key: said.route_key.map(Into::into),
            priority: said.priority.map(Into::into),
            rules: said.rules.into_iter().map(Rule::from).collect(),
            outcome,
        })
    }

    fn route(&self, matched: &Matched<'_>) -> anyhow::Result<Route> {
        let Matched { route, rule, host, condition } = matched;
        let likely = routing::likely_backend(rule).map(|reference| reference.name.as_str());
        let chosen = match &self.backend {
            Some(name) if rule.backend_refs.iter().any(|reference| reference.name == *name) => {
                Some(name.as_str())
            }
            Some(name) => bail!(
                "--backend: the rule `{route}/{}` does not lead to `{name}`, but to: {}",
                rule.name,
                rule.backend_refs.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
            None => likely,
        };
        let share = |reference: &crate::document::kind::BackendRef| BackendShare {
            name: reference.name.clone(),
            weight: reference.weight,
            explained: chosen == Some(reference.name.as_str()),
        };
        Ok(Route {
            name: format!("{route}/{}", rule.name),
            host: host.clone(),
            matched: report::matched(condition),
            backends: rule.backend_refs.iter().map(share).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
