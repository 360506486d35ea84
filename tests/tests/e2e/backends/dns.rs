//! Endpoints found in the DNS.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use spillway_tests::client::Answer;
use spillway_tests::name_server::{NameServer, Told};
use spillway_tests::scene::Scene;
use spillway_tests::wait;

use super::{Pool, bad_ends};

#[test]
fn a_name_that_stops_resolving_keeps_its_addresses_for_a_time() -> Result<()> {
    Scene::play(|scene| {
        let names = NameServer::start()?;
        let found = Told::Addresses(vec![Ipv4Addr::LOCALHOST]);
        names.tell("orders.test", found.clone());
        let mut pool = Pool::start(scene, &["e1"], "", "")?;
        pool.world.control_plane.restart_with(&["--name-server", &names.address().to_string()])?;
        let by_name = format!(
            "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: pool}}\n\
             spec: {{discovery: {{dns: {{host: orders.test, port: {}, refresh: 200ms, keepFor: 4s}}}}}}\n",
            pool.upstreams.port("e1")?
        );
        let served = |answer: &Answer| answer.status == 200;
        let load = pool.world.steady("/").start(&pool.world.client)?;
        // From a list to the DNS: nobody notices.
        pool.world.documents.write("pool.yaml", &by_name)?;
        wait::until("the name's addresses", || {
            ensure!(pool.world.control_plane.output().contains("resolved"));
            Ok(())
        })?;
        pool.world.until("the endpoint by its name", "/", served)?;
        // Nor does anybody notice an outage that is short enough, whatever it looks like.
        let logged = |pool: &Pool, what: &str| pool.world.control_plane.output().matches(what).count();
        for (n, outage) in [Told::Failure, Told::Addresses(Vec::new()), Told::Silence].into_iter().enumerate()
        {
            names.tell("orders.test", outage);
            wait::until("the outage", || {
                ensure!(logged(&pool, "its last addresses stay in use") == n + 1);
                Ok(())
            })?;
            names.tell("orders.test", found.clone());
            wait::until("its end", || {
                ensure!(logged(&pool, "\"resolved\"") == n + 2, "{}", logged(&pool, "\"resolved\""));
                Ok(())
            })?;
        }
        load.unharmed()?;

        // One that lasts ends in the answer that names the Backend, and its end is noticed.
        names.forget("orders.test");
        pool.world.until("no endpoint any more", "/", bad_ends::is_nobody)?;
        ensure!(logged(&pool, "has not resolved for too long") == 1, "{}", pool.world.control_plane.output());
        names.tell("orders.test", found);
        pool.world.until("the endpoint again", "/", served)?;

        // A control plane that starts without a name server knows what there was.
        names.forget("orders.test");
        pool.world.control_plane.restart()?;
        pool.world.until("the last addresses after a restart", "/", served)
    })
}
