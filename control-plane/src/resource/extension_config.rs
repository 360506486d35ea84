//! The filter with a Gateway's policies, as an extension config that listeners refer to by name.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    AsyncDataSource, BackoffStrategy, DataSource, HttpUri, RemoteDataSource, RetryPolicy,
    TypedExtensionConfig, async_data_source, data_source, http_uri,
};
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::{FailurePolicy, PluginConfig, VmConfig, plugin_config};
use envoy_types::pb::google::protobuf::StringValue;

use super::{any, duration, extension, uint32};
use crate::bootstrap::CONTROL_PLANE_CLUSTER;

/// All plugins of one proxy share a VM per worker, and with it the limits' shared state.
const VM_ID: &str = "spillway";

/// How long one download of the module may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(15);

/// Where a proxy gets the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module<'a> {
    /// From this control plane's xDS port, checked against its SHA-256 (hexadecimal).
    Served {
        /// Names the module and proves it.
        sha256: &'a str,
    },
    /// From the proxy's own disk.
    Local {
        /// Absolute, on the proxy.
        path: &'a str,
    },
}

/// The name of a Gateway's extension config, and of the HTTP filter that refers to it.
pub fn name(gateway: &str) -> String {
    format!("spillway/{gateway}")
}

/// The name of the one that stands before it where routes match on the key.
pub fn key_name(gateway: &str) -> String {
    format!("spillway/{gateway}/key")
}

/// Where the xDS port serves the module.
pub fn module_path(sha256: &str) -> String {
    format!("/filter/{sha256}.wasm")
}

/// What a proxy is doing when it gets the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// Its listener waits for the filter.
    Starting,
    /// It has one of that name in force.
    Running {
        /// Makes the bytes different and nothing else: Envoy does not look twice at what it has just refused.
        variation: u32,
    },
}

/// The extension config called `name`; `configuration` is the filter's JSON.
///
/// Envoy downloads a module that it does not know in two ways, and each is right in one place only (both measured):
/// - While a listener is coming up it waits for the download, and lets no request in before. In a listener that is up the same
///   configuration is accepted, never downloads anything, and lets **every request through unprotected**.
/// - With `nack_on_code_cache_miss` it refuses the configuration, downloads in the background, keeps the earlier filter in force, and
///   accepts the next push. A listener that is coming up would come up without the filter and answer 500.
pub fn extension_config(
    name: &str,
    configuration: &str,
    module: Module<'_>,
    proxy: Proxy,
) -> TypedExtensionConfig {
    let (running, variation) = match proxy {
        Proxy::Starting => (false, 0),
        Proxy::Running { variation } => (true, variation),
    };
    // Envoy knows VMs apart by their id, their configuration and their code, except that it leaves the code out where it has fetched it. So that an upgrade
    // never goes on in the VM of the module before, the configuration names the module. What limits share does not depend on it.
    let configuration_of_vm = match module {
        Module::Served { sha256 } => Some(any(&StringValue { value: sha256.to_owned() })),
        Module::Local { .. } => None,
    };
    let specifier = match module {
        Module::Served { sha256 } => async_data_source::Specifier::Remote(remote(sha256, variation)),
        Module::Local { path } => async_data_source::Specifier::Local(DataSource {
            specifier: Some(data_source::Specifier::Filename(path.to_owned())),
            ..DataSource::default()
        }),
    };
    let vm = VmConfig {
        vm_id: VM_ID.to_owned(),
        runtime: "envoy.wasm.runtime.v8".to_owned(),
        code: Some(AsyncDataSource { specifier: Some(specifier) }),
        configuration: configuration_of_vm,
        nack_on_code_cache_miss: running && matches!(module, Module::Served { .. }),
        ..VmConfig::default()
    };
    let plugin = PluginConfig {
        name: name.to_owned(),
        root_id: VM_ID.to_owned(),
        configuration: Some(any(&StringValue { value: configuration.to_owned() })),
        // A trap is answered by building the VM again. Failing open would turn every protection off at the worst moment.
        failure_policy: FailurePolicy::FailReload.into(),
        vm: Some(plugin_config::Vm::VmConfig(vm)),
        ..PluginConfig::default()
    };
    extension(name, &Wasm { config: Some(plugin) })
}

fn remote(sha256: &str, variation: u32) -> RemoteDataSource {
    let timeout = DOWNLOAD_TIMEOUT + Duration::from_nanos(u64::from(variation % 1_000_000_000));
    RemoteDataSource {
        http_uri: Some(HttpUri {
            uri: format!("http://{CONTROL_PLANE_CLUSTER}{}", module_path(sha256)),
            timeout: Some(duration(timeout)),
            http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(CONTROL_PLANE_CLUSTER.to_owned())),
        }),
        sha256: sha256.to_owned(),
        // A replica that is just being replaced must not leave a proxy without its filter.
        retry_policy: Some(RetryPolicy {
            num_retries: Some(uint32(10)),
            retry_back_off: Some(BackoffStrategy {
                base_interval: Some(duration(Duration::from_millis(200))),
                max_interval: Some(duration(Duration::from_secs(2))),
            }),
            ..RetryPolicy::default()
        }),
    }
}
