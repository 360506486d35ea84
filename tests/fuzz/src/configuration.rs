//! The filter's configuration, as Envoy hands it over.

use spillway_policy::config::Configuration;
use spillway_policy::engine::Engine;

use crate::asking::{Asking, ask};

/// What is read can be written and read again; what has no problems makes an engine, and that can be asked.
pub(crate) fn filter_configuration(bytes: &[u8]) {
    let Ok(configuration) = Configuration::parse(bytes) else { return };
    let json = match serde_json::to_vec(&configuration) {
        Ok(json) => json,
        Err(error) => panic!("{error}: {configuration:?}"),
    };
    match Configuration::parse(&json) {
        Ok(again) => assert_eq!(again, configuration),
        Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&json)),
    }
    let problems = configuration.problems();
    match Engine::new(configuration) {
        Ok(mut engine) => {
            assert!(problems.is_empty(), "{problems:?}");
            let headers: [(&str, &[u8]); 4] = [
                (":method", b"POST"),
                ("x-tenant", b"acme"),
                ("cookie", b"a=b; tenant=acme"),
                ("content-type", b"application/grpc"),
            ];
            let path = Some(&b"/orders/acme?tenant=beta"[..]);
            ask(&mut engine, &Asking { headers: &headers, path, client: Some(b"192.0.2.1:80") });
            ask(&mut engine, &Asking::default());
        }
        Err(_) => assert!(!problems.is_empty(), "an engine refuses what has no problems"),
    }
}
