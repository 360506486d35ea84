//! The queries of the dashboards, as Grafana would send them.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spillway_tests::artifacts;

/// A query of a panel.
#[derive(Debug)]
pub(super) struct Query {
    /// Where it stands.
    pub(super) panel: String,
    /// With every variable filled in: all.
    pub(super) expression: String,
}

/// All of all dashboards. Their numbers and names are checked on the way.
pub(super) fn queries() -> Result<Vec<Query>> {
    let mut queries = Vec::new();
    let mut dashboards = 0;
    for entry in fs::read_dir(artifacts::workspace().join("deploy/grafana/dashboards"))? {
        let file = entry?.path();
        let dashboard: Value =
            serde_json::from_str(&fs::read_to_string(&file)?).with_context(|| file.display().to_string())?;
        dashboards += 1;
        let title = dashboard.get("title").and_then(Value::as_str).context("no title")?;
        let variables =
            dashboard.pointer("/templating/list").and_then(Value::as_array).context("no variables")?;
        for panel in dashboard.get("panels").and_then(Value::as_array).context("no panels")? {
            let name = panel.get("title").and_then(Value::as_str).context("a panel without a title")?;
            let targets = panel.get("targets").and_then(Value::as_array).context("no queries")?;
            ensure!(!targets.is_empty(), "{title}: {name} shows nothing");
            for target in targets {
                let mut expression =
                    target.get("expr").and_then(Value::as_str).context("no expression")?.to_owned();
                expression = expression.replace("$__rate_interval", "1m");
                for variable in variables.iter().filter_map(|variable| variable.get("name")?.as_str()) {
                    expression = expression.replace(&format!("${variable}"), ".*");
                }
                ensure!(!expression.contains('$'), "{title}: {name}: no such variable in {expression}");
                queries.push(Query { panel: format!("{title}: {name}"), expression });
            }
        }
    }
    assert_eq!(dashboards, 4);
    Ok(queries)
}
