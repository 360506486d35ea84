//! Upgrades, asked for by a client of others: the Python package `websockets`.

use std::process::Command;

use anyhow::{Result, ensure};
use spillway_tests::artifacts;
use spillway_tests::ports::Port;
use spillway_tests::python;
use spillway_tests::scene::Scene;

use crate::text::{document, site};
use crate::world::World;

const RULES: &str = "\
- {name: chat, matches: [{path: {value: /chat}}], websocket: true, backendRefs: [{name: chat}]}
- {name: plain, matches: [{path: {value: /plain}}], backendRefs: [{name: chat}]}";

#[test]
fn a_websocket_is_let_through_where_the_rule_allows_it_and_nowhere_else() -> Result<()> {
    Scene::play(|scene| {
        let port = Port::free()?;
        let chat = format!("endpoints: [{{address: 127.0.0.1, port: {}}}]", port.number());
        let files = [("routes.yaml", &*site(RULES)), ("chat.yaml", &*document("Backend", "chat", &chat))];
        let world = World::start(scene, &files)?;
        // Nobody listens yet, and that is what both workers have to say.
        world.until("the rules", "/plain", |answer| answer.status == 503)?;
        let python = python::tool("websockets", "15.0.1", "python", "SPILLWAY_WEBSOCKETS_PYTHON")?;
        let output = Command::new(python)
            .arg(artifacts::workspace().join("tests/python/websocket.py"))
            .arg(port.number().to_string())
            .args(["/chat", "/plain"].map(|path| world.url(path).replacen("http", "ws", 1)))
            .output()?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(told == "echoed\nrefused with 403\n", "{told}{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}
