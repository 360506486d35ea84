//! Checks that are no HTTP requests.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use spillway_tests::artifacts;
use spillway_tests::ports::Port;
use spillway_tests::process::Process;
use spillway_tests::python;
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{Pool, endpoint, pool};
use crate::text::document;

const TIMES: &str = "interval: 100ms, timeout: 1s, unhealthyAfter: 2, healthyAfter: 2";

#[test]
fn an_endpoint_that_takes_no_connections_gets_nothing_until_it_does() -> Result<()> {
    Scene::play(|scene| {
        let pool_of_one = Pool::start(scene, &["e1"], "", "")?;
        let world = &pool_of_one.world;
        let late = Port::free()?;
        let endpoints = [
            endpoint(&pool_of_one.upstreams, "e1", "")?,
            format!("{{address: 127.0.0.1, port: {}}}", late.number()),
        ];
        let checked = pool(&endpoints, &format!(", healthCheck: {{tcp: {{}}, {TIMES}}}"));
        world.documents.write("pool.yaml", &checked)?;
        wait::until("both endpoints", || {
            let listed = world.client.read(&format!("http://{}/clusters", world.envoy.admin()))?.body;
            ensure!(listed.contains(&format!("pool::127.0.0.1:{}::", late.number())), "{listed}");
            Ok(())
        })?;
        world.until("e1 alone", "/", |answer| answer.header("x-upstream") == Some("e1"))?;
        let listener = TcpListener::bind(late.address())?;
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    // A check says nothing.
                    if stream.read(&mut [0; 4096])? > 0 {
                        stream.write_all(
                            b"HTTP/1.1 200 OK\r\nx-upstream: late\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                        )?;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        wait::until("the other one, too", || {
            ensure!(world.get("/", &[])?.header("x-upstream") == Some("late"));
            Ok(())
        })
    })
}

/// Two gRPC services whose health is in files.
struct Services {
    ports: Vec<Port>,
    files: Vec<std::path::PathBuf>,
    processes: Vec<Process>,
}

impl Services {
    fn start(scene: &Scene, names: &[&str]) -> Result<Self> {
        let python = python::tool("grpcio", "1.85.1", "python", "SPILLWAY_GRPCIO_PYTHON")?;
        let script = artifacts::workspace().join("tests/python/health.py");
        let mut services = Self { ports: Vec::new(), files: Vec::new(), processes: Vec::new() };
        for name in names {
            let (port, file) = (Port::free()?, scene.folder().join(format!("{name}.health")));
            fs::write(&file, "1")?;
            let arguments =
                [script.as_os_str(), port.number().to_string().as_ref(), name.as_ref(), file.as_os_str()]
                    .map(ToOwned::to_owned);
            let process = Process::start("a gRPC service", &python, arguments, &scene.log(name))?;
            wait::until("the gRPC service", || {
                ensure!(process.output().contains("serving"));
                Ok(())
            })?;
            services.ports.push(port);
            services.files.push(file);
            services.processes.push(process);
        }
        Ok(services)
    }

    /// A whole file at once: a check may read it at any time.
    fn say(&mut self, index: usize, health: &str) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::alive)?;
        let file = self.files.get(index).context("a service")?;
        let draft = file.with_extension("draft");
        fs::write(&draft, health)?;
        Ok(fs::rename(draft, file)?)
    }
}

#[test]
fn a_service_that_says_it_does_not_serve_gets_nothing_until_it_does() -> Result<()> {
    Scene::play(|scene| {
        let mut services = Services::start(scene, &["g1", "g2"])?;
        let endpoints: Vec<_> = services
            .ports
            .iter()
            .map(|port| format!("{{address: 127.0.0.1, port: {}}}", port.number()))
            .collect();
        let spec = format!(
            "protocol: GRPC\nendpoints: [{}]\nhealthCheck: {{grpc: {{}}, {TIMES}}}",
            endpoints.join(", ")
        );
        let files = [("route.yaml", super::route("")), ("pool.yaml", document("Backend", "pool", &spec))];
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let world = crate::world::World::start(scene, &files)?;
        let call = || {
            // A message of no bytes.
            let request =
                world.client.request(Method::POST, &world.url("/shop.Orders/Place")).body(vec![0; 5]);
            let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("connection", "close")];
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let answer = world.client.send(request)?;
            Ok(answer.header("x-upstream").map(str::to_owned))
        };
        let only = |what: &str, name: Option<&str>| {
            wait::until(what, || {
                for _ in 0..20 {
                    let found: Result<Option<String>> = call();
                    let found = found?;
                    ensure!(found.as_deref() == name, "{found:?}, not {name:?}");
                }
                Ok(())
            })
        };
        let seen = |name: &str| {
            wait::until(name, || {
                let found: Result<Option<String>> = call();
                ensure!(found?.as_deref() == Some(name));
                Ok(())
            })
        };
        seen("g1")?;
        seen("g2")?;
        services.say(0, "2")?;
        only("g2 alone", Some("g2"))?;
        services.say(1, "2")?;
        only("nobody", None)?;
        services.say(0, "1")?;
        only("g1 alone", Some("g1"))?;
        services.say(1, "1")?;
        seen("g2")
    })
}
