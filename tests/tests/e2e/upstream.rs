//! The demo's upstream does what it is told: the other tests rely on it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use spillway_tests::client::Client;
use spillway_tests::scene::Scene;
use spillway_tests::upstream::Upstreams;

#[test]
fn the_upstream_answers_fails_dawdles_and_resets() -> Result<()> {
    Scene::play(|scene| {
        let client = Client::new()?;
        let upstreams = Upstreams::start(scene, &client, &["one", "two"])?;
        let url = format!("http://{}/any/path", upstreams.address("one")?);
        let answer = client.get(&url, &[])?;
        assert_eq!(
            (answer.status, answer.body.as_str(), answer.header("x-upstream")),
            (200, "one\n", Some("one"))
        );
        let echo: Value = client.get(&format!("{url}?echo"), &[("x-a", "b")])?.json()?;
        assert_eq!(echo.pointer("/headers/x-a/0"), Some(&"b".into()));
        assert_eq!(echo.pointer("/path"), Some(&"/any/path".into()));

        upstreams.answer_with("one", 503)?;
        assert_eq!(client.get(&url, &[])?.status, 503);
        upstreams.answer_slowly("one", 200, 100)?;
        assert!(client.get(&url, &[])?.latency >= Duration::from_millis(100));
        upstreams.reset_connections("one")?;
        assert!(client.get(&url, &[]).is_err());
        let mut stream = TcpStream::connect(upstreams.address("one")?)?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let error = stream.read(&mut [0; 100]).expect_err("an answer instead of a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

        // The other service in the same process has noticed nothing.
        let other = format!("http://{}/", upstreams.address("two")?);
        assert_eq!(client.get(&other, &[])?.status, 200);
        assert_eq!((upstreams.requests("one")?, upstreams.requests("two")?), (6, 1));
        Ok(())
    })
}
