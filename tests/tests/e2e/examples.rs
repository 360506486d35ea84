//! Every worked example makes resources that Envoy accepts: they are put into a static configuration for `envoy --mode validate`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use serde_json::{Value, json};
use spillway::resource::{Kind, json::exact};
use spillway::snapshot::build::Builder;
use spillway::snapshot::revision::Revisions;
use spillway::snapshot::{Form, Snapshot};
use spillway::store::FileStore;
use spillway_tests::artifacts;
use spillway_tests::authority::Authority;
use spillway_tests::documents::Documents;
use spillway_tests::envoy::Envoy;
use spillway_tests::scene::Scene;

/// A `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[test]
fn envoy_accepts_what_every_example_makes() -> Result<()> {
    Scene::play(|scene| {
        let filter = artifacts::filter()?;
        let filter = filter.to_str().context("a path that is not UTF-8")?;
        let mut checked = 0;
        for folder in examples(&artifacts::workspace().join("docs/examples"))? {
            let name = folder.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
            let folder = with_keys(&folder, &scene.folder().join(&name))?;
            for (fleet, bootstrap) in bootstraps(&folder, filter).with_context(|| name.clone())? {
                let file = scene.folder().join(format!("{name}-{fleet}.json"));
                fs::write(&file, bootstrap.to_string())?;
                Envoy::validate(&file).with_context(|| format!("{name}, fleet {fleet}"))?;
                checked += 1;
            }
        }
        ensure!(checked >= 5, "only {checked} fleets");
        Ok(())
    })
}

/// A copy of an example, with the files that its Certificates name: none are kept in the repository.
fn with_keys(example: &Path, copy: &Path) -> Result<PathBuf> {
    let documents = Documents::copy(example, copy, &[])?;
    let authority = Authority::new(&copy.join("keys"))?;
    for (name, certificate) in FileStore::new(documents.folder()).load()?.certificates {
        if let Some((path, _)) = &certificate.files.pair {
            authority.issue(stem(path)?, &format!("{name}.example.com"))?;
        }
        if let Some(path) = &certificate.files.ca {
            fs::write(path, authority.pem())?;
        }
    }
    Ok(copy.to_owned())
}

fn stem(path: &Path) -> Result<&str> {
    path.file_stem().and_then(|stem| stem.to_str()).context("a name")
}

/// The directories below `folder` that have documents themselves.
fn examples(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    if entries.iter().any(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        return Ok(vec![folder.to_owned()]);
    }
    let nested = entries.iter().filter(|path| path.is_dir()).map(|path| examples(path));
    Ok(nested.collect::<Result<Vec<_>>>()?.concat())
}

/// A static configuration for each fleet of an example.
fn bootstraps(folder: &Path, filter: &str) -> Result<Vec<(String, Value)>> {
    let model = FileStore::new(folder).check()?;
    let mut builder = Builder::new("", Revisions::default());
    let snapshots = builder.build(&model, 1).clone();
    snapshots
        .into_iter()
        .map(|(fleet, snapshot)| Ok((fleet, bootstrap(&snapshot.with_local_module(filter))?)))
        .collect()
}

/// The resources of one type by name, as JSON.
fn resources(snapshot: &Snapshot, kind: Kind) -> Result<Vec<(String, Value)>> {
    snapshot
        .set(kind)
        .iter()
        .map(|resource| {
            let any = Any::decode(resource.any(Form::First))?;
            let value = exact(&any.type_url, &any.value);
            ensure!(value.get("bytes").is_none(), "{value}");
            Ok((resource.name().to_string(), value))
        })
        .collect()
}

fn bootstrap(snapshot: &Snapshot) -> Result<Value> {
    let endpoints = resources(snapshot, Kind::Endpoints)?;
    let routes = resources(snapshot, Kind::Route)?;
    let extensions = resources(snapshot, Kind::ExtensionConfig)?;
    let find = |set: &[(String, Value)], name: &Value| {
        let found = set.iter().find(|(other, _)| name == other.as_str());
        found.map(|(_, value)| value.clone()).with_context(|| format!("there is no {name}"))
    };
    let mut clusters = resources(snapshot, Kind::Cluster)?;
    for (name, cluster) in &mut clusters {
        if cluster["type"] == "EDS" {
            cluster["type"] = json!("STATIC");
            cluster["load_assignment"] = find(&endpoints, &json!(name))?;
            cluster.as_object_mut().context("a cluster")?.remove("eds_cluster_config");
        }
    }
    let mut listeners = resources(snapshot, Kind::Listener)?;
    // A listener for gRPC clients without a proxy is none that Envoy could open.
    listeners.retain(|(_, listener)| listener.get("api_listener").is_none());
    for (_, listener) in &mut listeners {
        inline(listener, &|manager: &mut Value| {
            if let Some(name) = manager.pointer("/rds/route_config_name").cloned() {
                manager["route_config"] = find(&routes, &name)?;
                manager.as_object_mut().context("a connection manager")?.remove("rds");
            }
            if manager.get("config_discovery").is_some() {
                let extension = find(&extensions, &manager["name"])?;
                let typed = extension.get("typed_config").context("a filter without configuration")?;
                manager["typed_config"] = typed.clone();
                manager.as_object_mut().context("a filter")?.remove("config_discovery");
            }
            Ok(())
        })?;
    }
    for (_, resource) in clusters.iter_mut().chain(&mut listeners) {
        // Secrets that stand in the same file have a name and no source.
        inline(resource, &|value: &mut Value| {
            value.as_object_mut().map(|fields| fields.remove("sds_config"));
            Ok(())
        })?;
    }
    let secrets = resources(snapshot, Kind::Secret)?;
    let values = |set: Vec<(String, Value)>| set.into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    Ok(json!({
        "node": { "id": "validate", "cluster": "validate" },
        "static_resources": { "listeners": values(listeners), "clusters": values(clusters), "secrets": values(secrets) },
    }))
}

/// Changes every object within a value.
fn inline(value: &mut Value, change: &impl Fn(&mut Value) -> Result<()>) -> Result<()> {
    if value.is_object() {
        change(value)?;
    }
    match value {
        Value::Object(fields) => fields.values_mut().try_for_each(|field| inline(field, change)),
        Value::Array(items) => items.iter_mut().try_for_each(|item| inline(item, change)),
        _ => Ok(()),
    }
}
