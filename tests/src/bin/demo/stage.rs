//! Everything that runs during the demo.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::upstream::Upstreams;

use crate::narrator::Narrator;

/// The file with the weights.
pub(crate) const ROUTES: &str = "routes.yaml";
/// The file with the limits.
pub(crate) const PROTECTION: &str = "protection.yaml";

/// The running programs. All end with this process.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) documents: Documents,
    pub(crate) upstreams: Upstreams,
    pub(crate) control_plane: ControlPlane,
    pub(crate) envoy: Envoy,
    /// Where Envoy accepts requests.
    pub(crate) url: String,
    pub(crate) logs: Vec<PathBuf>,
    _listener: Port,
    _admin: Port,
}

impl Stage {
    /// Starts everything and waits until Envoy serves what the documents say.
    pub(crate) fn set(
        narrator: &Narrator,
        folder: &Path,
        port: Option<u16>,
        admin_port: Option<u16>,
    ) -> Result<Self> {
        let client = Client::new()?;
        client.spawn(end_on_signal());
        let listener = port.map_or_else(Port::free, Port::given)?;
        let admin = admin_port.map_or_else(Port::free, Port::given)?;
        // Absolute, because it is shown to a reader who may stand elsewhere.
        let folder = std::path::absolute(folder).context("no such folder")?;
        // What an earlier demo left behind would be taken for this one's; what is no demo's is not touched.
        let documents = folder.join("documents");
        if documents.exists() {
            fs::remove_dir_all(&documents)
                .with_context(|| format!("cannot remove {}", documents.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let log = |name: &str| folder.join(format!("{name}.log"));
        for name in ["upstreams", "spillway", "envoy"] {
            fs::write(log(name), "").with_context(|| format!("cannot write {}", log(name).display()))?;
        }

        Narrator::say("Starting three services, the control plane and one Envoy with two workers");
        let names = ["orders-v1", "orders-v2", "payments"];
        let upstreams = Upstreams::start_logging(&log("upstreams"), &client, &names)?;
        let ports = [
            (10_000, listener.number()),
            (8081, upstreams.port("orders-v1")?),
            (8082, upstreams.port("orders-v2")?),
            (8083, upstreams.port("payments")?),
        ];
        let source = artifacts::workspace().join("demo/documents");
        let documents = Documents::copy(&source, &documents, &ports)?;
        let control_plane = ControlPlane::start(&client, documents.folder(), &folder)?;
        let bootstrap = folder.join("bootstrap.yaml");
        control_plane.bootstrap("edge", &admin, &bootstrap, &[])?;
        let envoy = Envoy::start(&client, &bootstrap, &admin, 2, &log("envoy"))?;
        let url = format!("http://{}", listener.address());
        spillway_tests::wait::until("Envoy to serve the documents", || {
            client.read(&format!("{url}/orders")).map(drop)
        })?;

        let stage = Self {
            logs: vec![log("upstreams"), log("spillway"), log("envoy")],
            client,
            documents,
            upstreams,
            control_plane,
            envoy,
            url,
            _listener: listener,
            _admin: admin,
        };
        stage.describe(narrator)?;
        Ok(stage)
    }

    /// Says what runs where.
    pub(crate) fn describe(&self, narrator: &Narrator) -> Result<()> {
        for name in ["orders-v1", "orders-v2", "payments"] {
            narrator.doing(&format!("service {name:<10} {}", self.upstreams.address(name)?));
        }
        narrator.doing(&format!(
            "control plane      xDS {}, admin http://{}",
            self.control_plane.xds(),
            self.control_plane.admin()
        ));
        narrator.doing(&format!("Envoy              {}, admin http://{}", self.url, self.envoy.admin()));
        narrator.doing(&format!("documents          {}", self.documents.folder().display()));
        Ok(())
    }
}

/// Ends the process, and with it, by the kernel, everything that it started.
async fn end_on_signal() {
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        // Then the signals do what they do by themselves: end the process.
        return;
    };
    let code = tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hangup.recv() => 129,
    };
    println!("\nThe demo ends, and everything that it started with it.");
    std::process::exit(code);
}
