//! One control plane with several fleets and Envoys of every kind: delta or state of the world, over the aggregated service or separate ones,
//! directly or through a bad network.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::load::Load;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

/// How an Envoy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// For what has changed.
    Delta,
    /// For everything, each time.
    State,
}

/// Whom it asks for listeners and clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Services {
    /// One stream for everything.
    Aggregated,
    /// A stream for each; what they refer to comes over the aggregated one.
    Separate,
    /// The service of endpoints alone: the listener and the cluster `alpha` are in the bootstrap.
    Endpoints,
}

/// What the Envoys share.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) documents: Documents,
    pub(crate) upstreams: Upstreams,
    pub(crate) control_plane: ControlPlane,
    fleets: Vec<(String, Port)>,
    folder: PathBuf,
}

/// One Envoy of the stage.
pub(crate) struct Proxied {
    client: Client,
    pub(crate) envoy: Envoy,
    web: SocketAddr,
    admin: Port,
    bootstrap: PathBuf,
    log: PathBuf,
}

impl Stage {
    /// A control plane with these fleets, a Gateway for each, whose Gateways all send everything to alpha. The file `site.yaml` says so.
    pub(crate) fn start(scene: &Scene, fleets: &[&str]) -> Result<Self> {
        let client = Client::new()?;
        let upstreams = Upstreams::start(scene, &client, &["alpha", "beta"])?;
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        let fleets: Vec<_> =
            fleets.iter().map(|fleet| Ok(((*fleet).to_owned(), Port::free()?))).collect::<Result<_>>()?;
        for (fleet, port) in &fleets {
            documents.write(
                &format!("gateway-{fleet}.yaml"),
                &format!(
                    "apiVersion: spillway.dev/v1\nkind: Gateway\nmetadata: {{name: {fleet}}}\nspec:\n  fleet: {fleet}\n  \
                     listeners: [{{name: web, address: 127.0.0.1, port: {}, protocol: HTTP}}]\n",
                    port.number()
                ),
            )?;
        }
        let all: Vec<_> = fleets.iter().map(|(fleet, _)| &**fleet).collect();
        documents.write("site.yaml", &site(&all, &[("alpha", 1)], &upstreams, None)?)?;
        let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        Ok(Self { client, documents, upstreams, control_plane, fleets, folder: scene.folder().to_owned() })
    }

    /// In one edit: every Gateway sends everything to the Backend of this name, which is the upstream of that name; no other Backend stays.
    pub(crate) fn send_to(&self, backend: &str, upstream: &str) -> Result<()> {
        let all: Vec<_> = self.fleets.iter().map(|(fleet, _)| &**fleet).collect();
        self.documents.write("site.yaml", &site(&all, &[(backend, 1)], &self.upstreams, Some(upstream))?)
    }

    /// In one edit: every Gateway sends everything to this one of the Backends alpha and beta, and both stay.
    pub(crate) fn shift_to(&self, upstream: &str) -> Result<()> {
        let all: Vec<_> = self.fleets.iter().map(|(fleet, _)| &**fleet).collect();
        let both = ["alpha", "beta"].map(|name| (name, u8::from(name == upstream)));
        self.documents.write("site.yaml", &site(&all, &both, &self.upstreams, None)?)
    }

    /// Writes the bootstrap of an Envoy and starts it; does not wait. `via` is where it finds the control plane, if not where that listens.
    pub(crate) fn launch(
        &self,
        name: &str,
        fleet: &str,
        (variant, services): (Variant, Services),
        via: Option<SocketAddr>,
    ) -> Result<Proxied> {
        let (_, web) = self.fleets.iter().find(|(one, _)| one == fleet).context("no such fleet")?;
        let admin = Port::free()?;
        let bootstrap = self.folder.join(format!("{name}.yaml"));
        self.control_plane.bootstrap(fleet, &admin, &bootstrap, &["--node", name])?;
        let written = std::fs::read_to_string(&bootstrap)?;
        let mut changed: Value = serde_json::from_str(&written).context("the bootstrap is JSON")?;
        change(&mut changed, variant, services, via, web)
            .context("the bootstrap is not what it used to be")?;
        std::fs::write(&bootstrap, changed.to_string())?;
        let log = self.folder.join(format!("{name}.log"));
        let envoy = Envoy::launch(&self.client, &bootstrap, &admin, 2, &log)?;
        Ok(Proxied { client: self.client.clone(), envoy, web: web.address(), admin, bootstrap, log })
    }

    /// As [`Stage::launch`], and waits until it serves.
    pub(crate) fn envoy(
        &self,
        name: &str,
        fleet: &str,
        kind: (Variant, Services),
        via: Option<SocketAddr>,
    ) -> Result<Proxied> {
        let mut proxied = self.launch(name, fleet, kind, via)?;
        proxied.envoy.wait_ready()?;
        proxied.serves("alpha")?;
        Ok(proxied)
    }

    /// As [`Stage::envoy`], where the Gateways send everything to another upstream by now.
    pub(crate) fn envoy_serving(
        &self,
        name: &str,
        fleet: &str,
        kind: (Variant, Services),
        upstream: &str,
    ) -> Result<Proxied> {
        let mut proxied = self.launch(name, fleet, kind, None)?;
        proxied.envoy.wait_ready()?;
        proxied.serves(upstream)?;
        Ok(proxied)
    }
}

impl Proxied {
    /// Waits until this upstream answers through it.
    pub(crate) fn serves(&self, upstream: &str) -> Result<()> {
        wait::until(&format!("answers of {upstream}"), || {
            let answer = self.client.get(&format!("http://{}/", self.web), &[])?;
            ensure!(
                answer.header("x-upstream") == Some(upstream),
                "answered with {} by {:?}",
                answer.status,
                answer.header("x-upstream")
            );
            Ok(())
        })
    }

    /// Load that goes on in the background.
    pub(crate) fn load(&self) -> Load {
        let url = format!("http://{}/", self.web);
        Load::get(url).concurrency(4).pause(Duration::from_millis(2)).requests(1_000_000)
    }

    /// SIGKILL, and a new Envoy with the same bootstrap.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.envoy.process().kill()?;
        self.envoy = Envoy::launch(&self.client, &self.bootstrap, &self.admin, 2, &self.log)?;
        self.envoy.wait_ready()
    }

    /// Whether it has a cluster of this name.
    pub(crate) fn has_cluster(&self, name: &str) -> Result<bool> {
        let clusters = self.client.read(&format!("http://{}/clusters", self.envoy.admin()))?.body;
        Ok(clusters.lines().any(|line| line.starts_with(&format!("{name}::"))))
    }
}

/// A Route to these Backends, by weight, and the Backends; each is the upstream of its name unless another one is given.
fn site(
    fleets: &[&str],
    backends: &[(&str, u8)],
    upstreams: &Upstreams,
    upstream: Option<&str>,
) -> Result<String> {
    let parents: Vec<_> = fleets.iter().map(|fleet| format!("{{name: {fleet}}}")).collect();
    let refs: Vec<_> =
        backends.iter().map(|(name, weight)| format!("{{name: {name}, weight: {weight}}}")).collect();
    let mut text = format!(
        "apiVersion: spillway.dev/v1\nkind: Route\nmetadata: {{name: site}}\nspec:\n  parentRefs: [{}]\n  \
         rules: [{{name: all, backendRefs: [{}]}}]\n",
        parents.join(", "),
        refs.join(", ")
    );
    for (name, _) in backends {
        let port = upstreams.port(upstream.unwrap_or(name))?;
        write!(
            text,
            "---\napiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {name}}}\n\
             spec: {{endpoints: [{{address: 127.0.0.1, port: {port}}}]}}\n"
        )?;
    }
    Ok(text)
}

fn change(
    bootstrap: &mut Value,
    variant: Variant,
    services: Services,
    via: Option<SocketAddr>,
    web: &Port,
) -> Option<()> {
    let ads = bootstrap.pointer_mut("/dynamic_resources/ads_config")?;
    if variant == Variant::State {
        *ads.get_mut("api_type")? = json!("GRPC");
    }
    let source = ads.clone();
    if services == Services::Separate {
        for kind in ["lds_config", "cds_config"] {
            let config = bootstrap.pointer_mut("/dynamic_resources")?.get_mut(kind)?;
            *config = json!({ "resource_api_version": "V3", "api_config_source": source });
        }
    }
    if services == Services::Endpoints {
        let source = json!({ "resource_api_version": "V3", "api_config_source": source });
        let cluster =
            json!({ "name": "alpha", "type": "EDS", "eds_cluster_config": { "eds_config": source } });
        bootstrap.pointer_mut("/static_resources/clusters")?.as_array_mut()?.push(cluster);
        let extension = "type.googleapis.com/envoy.extensions.filters";
        let manager = json!({
            "@type": format!("{extension}.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": "web",
            "route_config": { "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "alpha" } }],
            }] },
            "http_filters": [{
                "name": "router",
                "typed_config": { "@type": format!("{extension}.http.router.v3.Router") },
            }],
        });
        let address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": web.number() } });
        let filter = json!({ "name": "http", "typed_config": manager });
        let listener =
            json!({ "name": "web", "address": address, "filter_chains": [{ "filters": [filter] }] });
        bootstrap
            .pointer_mut("/static_resources")?
            .as_object_mut()?
            .insert("listeners".into(), json!([listener]));
        bootstrap.as_object_mut()?.remove("dynamic_resources");
    }
    if let Some(via) = via {
        let endpoint = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint";
        let port = bootstrap.pointer_mut(&format!("{endpoint}/address/socket_address/port_value"))?;
        *port = json!(via.port());
    }
    Some(())
}
