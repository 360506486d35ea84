//! The files below `envoy/`, and the filter under configurations that nobody has checked before.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use spillway_tests::artifacts;
use spillway_tests::client::Client;
use spillway_tests::control_plane::ControlPlane;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::ports::Port;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;
use spillway_tests::wait;

/// A copy of one of the files with this test's ports and the module's path.
fn adapted(scene: &Scene, name: &str, ports: &[(u16, u16)]) -> Result<PathBuf> {
    let mut text = fs::read_to_string(artifacts::workspace().join("envoy").join(name))?;
    for (old, new) in ports {
        let (old, new) = (format!("port_value: {old}}}"), format!("port_value: {new}}}"));
        ensure!(text.matches(&old).count() == 1, "{name} has {old:?} {} times", text.matches(&old).count());
        text = text.replace(&old, &new);
    }
    let filter = artifacts::filter()?;
    let filter = filter.to_str().context("a path that is not UTF-8")?;
    let file = scene.folder().join(name);
    fs::write(&file, text.replace("filename: target/spillway_filter.wasm", &format!("filename: {filter}")))?;
    Ok(file)
}

#[test]
fn the_filter_works_without_a_control_plane() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let upstreams = Upstreams::start(scene, &client, &["alpha"])?;
        let (web, admin) = (Port::free()?, Port::free()?);
        let ports = [(10_000, web.number()), (9901, admin.number()), (8080, upstreams.port("alpha")?)];
        let file = adapted(scene, "standalone.yaml", &ports)?;
        Envoy::validate(&file)?;
        let mut envoy = Envoy::start(&client, &file, &admin, 2, &scene.log("envoy"))?;

        let url = format!("http://{}/orders/acme/7?echo", web.address());
        let echo: Value =
            client.get(&url, &[("x-route-key", "forged"), ("x-spillway-x", "forged")])?.json()?;
        assert_eq!(echo.pointer("/headers/x-route-key"), Some(&json!(["acme"])));
        assert_eq!(echo.pointer("/headers/x-spillway-x"), None);
        // 20 saved up and 10 a second are allowed.
        let rejected = wait::until("the limit", || {
            let answer = client.get(&url, &[])?;
            ensure!(answer.status == 429, "{}", answer.status);
            Ok(answer)
        })?;
        assert_eq!(rejected.header("x-spillway-rejected-by"), Some("rate-limit/orders/per-tenant"));
        // Its access log says the same, with the details that no other 429 has.
        wait::until("the access log", || {
            let output = envoy.process().output();
            let line = output.lines().find(|line| line.contains(r#""status":429"#)).context("no line")?;
            ensure!(line.contains(r#""details":"spillway_rate_limit""#), "{line}");
            ensure!(line.contains(r#""route_key":"acme""#), "{line}");
            Ok(())
        })
    })
}

const MESH: &str = "\
apiVersion: spillway.dev/v1
kind: Gateway
metadata: {name: mesh}
spec: {fleet: mesh}
---
apiVersion: spillway.dev/v1
kind: TrafficPolicy
metadata: {name: fair-share}
spec:
  targetRefs: [{kind: Gateway, name: mesh}]
  rateLimits: [{name: per-tenant, key: [{header: x-tenant-id}], rate: 1/h, burst: 2}]
";

#[test]
fn a_limit_is_tuned_live_beside_a_mesh() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let upstreams = Upstreams::start(scene, &client, &["alpha"])?;
        let documents = Documents::empty(&scene.folder().join("documents"))?;
        documents.write("mesh.yaml", MESH)?;
        let control_plane = ControlPlane::start(&client, documents.folder(), scene.folder())?;
        let (web, admin) = (Port::free()?, Port::free()?);
        let ports = [
            (10_000, web.number()),
            (9901, admin.number()),
            (8080, upstreams.port("alpha")?),
            (18_000, control_plane.xds().port()),
        ];
        let file = adapted(scene, "beside-a-mesh.yaml", &ports)?;
        Envoy::validate(&file)?;
        let envoy = Envoy::start(&client, &file, &admin, 2, &scene.log("envoy"))?;

        let url = format!("http://{}/", web.address());
        let acme = [("x-tenant-id", "acme")];
        for expected in [200, 200, 429, 429] {
            assert_eq!(client.get(&url, &acme)?.status, expected);
        }
        documents.edit("mesh.yaml", &["rate: 1/h, burst: 2"], &["rate: 1000/s"])?;
        wait::until("the raised limit", || {
            let answer = client.get(&url, &acme)?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })?;
        // Nobody else's configuration came along.
        assert_eq!(envoy.stat("listener_manager.listener_modified")?, 0);
        assert_eq!(envoy.stat("listener_manager.listener_added")?, 1);
        Ok(())
    })
}

/// An ECDS file, which Envoy reads again whenever another is moved in its place.
fn put_extension(file: &Path, version: &str, configuration: &str) -> Result<()> {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "spillway/test",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "spillway/test",
                "root_id": "spillway",
                "failure_policy": "FAIL_RELOAD",
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
                "vm_config": {
                    "vm_id": "spillway",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": artifacts::filter()?}},
                },
            },
        },
    });
    let draft = file.with_extension("draft");
    fs::write(&draft, json!({"version_info": version, "resources": [resource]}).to_string())?;
    fs::rename(&draft, file).context("cannot put the extension in place")
}

#[test]
fn a_bad_filter_configuration_is_refused_and_the_old_one_stays() -> Result<()> {
    let limit = |rate: &str| {
        let limit = json!({"name": "all", "key": [{"header": "x-user"}], "rate": rate, "burst": 1});
        json!({"policies": [{"name": "test", "rateLimits": [limit]}]}).to_string()
    };
    Scene::play(|scene| {
        let client = Client::new()?;
        let (web, admin) = (Port::free()?, Port::free()?);
        let folder = scene.folder().join("ecds");
        fs::create_dir(&folder)?;
        let extension = folder.join("extension.json");
        put_extension(&extension, "1", &limit("1/h"))?;
        let address =
            |port: &Port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port.number()}});
        let bootstrap = json!({
            "node": {"id": "test", "cluster": "test"},
            "admin": {"address": address(&admin)},
            "static_resources": {"listeners": [{
                "name": "web",
                "address": address(&web),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "web",
                        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                            {"name": "site/all", "match": {"prefix": "/"}, "direct_response": {"status": 200}},
                        ]}]},
                        "http_filters": [
                            {
                                "name": "spillway/test",
                                "config_discovery": {
                                    "config_source": {
                                        "resource_api_version": "V3",
                                        "path_config_source": {"path": extension, "watched_directory": {"path": folder}},
                                    },
                                    "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
                                },
                            },
                            {
                                "name": "envoy.filters.http.router",
                                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                            },
                        ],
                    },
                }]}],
            }]},
        });
        let file = scene.folder().join("bootstrap.yaml");
        fs::write(&file, bootstrap.to_string())?;
        let envoy = Envoy::start(&client, &file, &admin, 2, &scene.log("envoy"))?;
        let url = format!("http://{}/", web.address());
        let ann = [("x-user", "ann")];
        for expected in [200, 429] {
            assert_eq!(client.get(&url, &ann)?.status, expected);
        }
        let rejected = || -> Result<u64> {
            let stats = envoy.stats("extension_config_discovery.http_filter.spillway/test")?;
            Ok(stats
                .iter()
                .filter(|(name, _)| name.ends_with("config_fail") || name.ends_with("update_rejected"))
                .map(|(_, n)| n)
                .sum())
        };
        let no_limit = json!({"policies": [{"name": "test", "rateLimits": [{"name": "all"}]}]}).to_string();
        let unknown = json!({"policies": [], "polices": []}).to_string();
        for (version, bad) in
            ["", "{", "null", "[]", r#"{"policies": 7}"#, &unknown, &no_limit, "\u{fffd}\u{0}"]
                .into_iter()
                .enumerate()
        {
            let before = rejected()?;
            put_extension(&extension, &format!("bad-{version}"), bad)?;
            wait::until(&format!("the refusal of {bad:?}"), || {
                ensure!(rejected()? > before, "{:?}", envoy.stats("extension_config_discovery")?);
                Ok(())
            })?;
            assert_eq!(client.get(&url, &ann)?.status, 429, "{bad:?} took effect");
        }
        put_extension(&extension, "good", &limit("1000000/s"))?;
        wait::until("the good configuration", || {
            let answer = client.get(&url, &ann)?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })
    })
}
