//! Static configurations out of what an Envoy says of its own.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use spillway_tests::ports::Port;

use super::scenario::module;
use super::variant::{Answers, Filter};

/// The bootstrap of one variant.
pub(super) fn bootstrap(
    dump: &Value,
    filter: Filter,
    answers: Answers,
    listener: &Port,
    admin: &Port,
) -> Result<Value> {
    let mut routes = found(dump, "dynamic_route_configs", "/route_config")?;
    let mut listening = found(dump, "dynamic_listeners", "/active_state/listener")?;
    let mut cluster = found(dump, "dynamic_active_clusters", "/cluster")?;
    let mut endpoints = found(dump, "dynamic_endpoint_configs", "/endpoint_config")?;
    let mut ours = found(dump, "ecds_filters", "/ecds_filter")?;
    for value in [&mut routes, &mut listening, &mut cluster, &mut endpoints, &mut ours] {
        fields(value)?.remove("@type");
    }
    if answers == Answers::Direct {
        answer_directly(&mut routes);
    }
    // The module of a file may be named in the dump, but is not shown there.
    let code = json!({"local": {"filename": module()?}});
    *ours
        .pointer_mut("/typed_config/config/vm_config/code")
        .context("no module in the filter's configuration")? = code;

    let address =
        |port: &Port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port.number()}});
    fields(&mut listening)?.insert("address".into(), address(listener));
    let filters = listening.pointer_mut("/filter_chains/0/filters").and_then(Value::as_array_mut);
    // What limits connections stands before the connection manager.
    let manager = filters.and_then(|filters| filters.last_mut()?.get_mut("typed_config"));
    let manager = fields(manager.context("no connection manager")?)?;
    if filter != Filter::Spillway {
        // What only our filter needs.
        manager.remove("early_header_mutation_extensions");
        fields(&mut routes)?.remove("request_headers_to_add");
        fields(&mut routes)?.remove("response_headers_to_add");
    }
    manager.remove("rds");
    manager.insert("route_config".into(), routes);
    let filters = manager.get_mut("http_filters").and_then(Value::as_array_mut).context("no HTTP filters")?;
    filters.retain(|filter| filter.get("config_discovery").is_none());
    filters.splice(0..0, filter.configuration(ours));

    fields(&mut cluster)?.remove("eds_cluster_config");
    fields(&mut cluster)?.insert("type".into(), json!("STATIC"));
    fields(&mut cluster)?.insert("load_assignment".into(), endpoints);
    Ok(json!({
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listening], "clusters": [cluster]},
    }))
}

/// The first resource of a kind that came over xDS.
fn found(dump: &Value, list: &str, path: &str) -> Result<Value> {
    let configs = dump.get("configs").and_then(Value::as_array).context("no configuration dump")?;
    let resource = configs.iter().find_map(|config| config.get(list)?.get(0)?.pointer(path));
    resource.cloned().with_context(|| format!("no {list} in the configuration dump"))
}

fn fields(value: &mut Value) -> Result<&mut Map<String, Value>> {
    value.as_object_mut().context("not an object")
}

/// Has every route, in lists and trees, answered by Envoy.
fn answer_directly(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("match") && fields.remove("route").is_some() {
                let answer = json!({"status": 200, "body": {"inline_string": "orders\n"}});
                fields.insert("direct_response".into(), answer);
            }
            fields.values_mut().for_each(answer_directly);
        }
        Value::Array(values) => values.iter_mut().for_each(answer_directly),
        _ => {}
    }
}

impl Filter {
    /// The filter as Envoy's configuration has it, if it is one; `ours` is our own.
    fn configuration(self, ours: Value) -> Option<Value> {
        match self {
            Self::None => None,
            Self::Spillway => Some(ours),
            Self::Lua => {
                let code = "function envoy_on_request(h) h:headers():add('x-route-key', h:headers():get('x-tenant-id') or '') end";
                Some(json!({
                    "name": "envoy.filters.http.lua",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                        "default_source_code": {"inline_string": code},
                    },
                }))
            }
            Self::Native => Some(json!({
                "name": "envoy.filters.http.local_ratelimit",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                    "stat_prefix": "limit",
                    "token_bucket": {"max_tokens": 1_000_000, "tokens_per_fill": 1_000_000, "fill_interval": "1s"},
                    "filter_enabled": {"default_value": {"numerator": 100}},
                    "filter_enforced": {"default_value": {"numerator": 100}},
                },
            })),
        }
    }
}
