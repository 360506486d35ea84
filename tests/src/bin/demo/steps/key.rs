//! The route key.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::narrator::Narrator;
use crate::stage::Stage;

/// The key comes from the header, or else from the path; what the client claims in the key's own header does not count.
pub(super) fn shown(stage: &mut Stage, narrator: &Narrator) -> Result<()> {
    let forged = [("x-route-key", "admin"), ("x-spillway-trust", "me")];
    for (path, more, expected) in [
        ("/orders/initech/7?echo", None, "initech"),
        ("/orders/initech/7?echo", Some(("x-tenant-id", "umbrella")), "umbrella"),
        ("/orders?echo", None, "anonymous"),
    ] {
        let headers: Vec<_> = forged.into_iter().chain(more).collect();
        let answer = stage.client.get(&format!("{}{path}", stage.url), &headers)?;
        ensure!(answer.status == 200, "GET {path} was answered with {}", answer.status);
        let echo: Value = answer.json()?;
        let received = echo.get("headers").and_then(Value::as_object).context("no headers in the echo")?;
        let key = received.get("x-route-key");
        ensure!(
            key == Some(&Value::from(vec![expected])),
            "GET {path}: the upstream got the key {key:?}, not {expected}"
        );
        let leaked: Vec<_> = received.keys().filter(|name| name.starts_with("x-spillway-")).collect();
        ensure!(leaked.is_empty(), "the upstream got {leaked:?} from the client");
        let header = more.map_or(String::new(), |(name, value)| format!(" with {name}: {value}"));
        narrator.seen(&format!(
            "GET {path}{header} and a forged x-route-key: the upstream got x-route-key: {expected}"
        ));
    }
    Ok(())
}
