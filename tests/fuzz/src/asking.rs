//! A request made of whatever bytes there are, and an engine that is asked about it.

use std::borrow::Cow;

use spillway_policy::config::Configuration;
use spillway_policy::engine::{Engine, Outcome, Request, Verdict};
use spillway_policy::store::Memory;

/// Longer keys are hashed.
const MAX_KEY: usize = 256;
const SECOND: u64 = 1_000_000_000;

/// Every header that is not listed is missing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) headers: &'a [(&'a str, &'a [u8])],
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) client: Option<&'a [u8]>,
}

impl Request for Asking<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(*value))
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.path.map(Cow::Borrowed)
    }
    fn route_name(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"site/all"))
    }
    fn filter_chain(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"web"))
    }
    fn backend(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"alpha"))
    }
    fn client_address(&self) -> Option<Cow<'_, [u8]>> {
        self.client.map(Cow::Borrowed)
    }
    fn server_name(&self) -> Option<Cow<'_, [u8]>> {
        self.client.map(Cow::Borrowed)
    }
}

/// The engine of a configuration that is known to be right.
pub(crate) fn engine(json: &str) -> Engine {
    match Configuration::parse(json.as_bytes()).and_then(Engine::new) {
        Ok(engine) => engine,
        Err(error) => panic!("{error}: {json}"),
    }
}

/// Asks the engine twice and gives the key. What has to hold for any request: the same request has the same key, no key is long or empty, what was admitted
/// can be completed, and an explanation names the same key.
pub(crate) fn ask(engine: &mut Engine, request: &Asking<'_>) -> Option<Vec<u8>> {
    let mut store = Memory::with_entropy(7);
    let mut keys = Vec::new();
    for now in [SECOND, 2 * SECOND] {
        let decision = engine.decide(request, &mut store, now);
        let key = decision.key.map(<[u8]>::to_vec);
        if let Some(key) = &key {
            assert!(!key.is_empty() && key.len() <= MAX_KEY, "a key of {} bytes", key.len());
        }
        if let Verdict::Admit(admission) = decision.verdict {
            let outcome = Outcome { status: Some(500), ..Outcome::default() };
            engine.complete(admission, outcome, &mut store, now + SECOND / 2);
        }
        engine.tick(&mut store, now + SECOND / 2);
        keys.push(key);
    }
    let explained = engine.explain(request, &mut store, 3 * SECOND);
    keys.push(explained.route_key.and_then(|(_, key)| key));
    assert!(keys.windows(2).all(|pair| pair.first() == pair.last()), "{keys:?}");
    assert_eq!(engine.store_failures(), 0, "the store answers everything");
    keys.pop().flatten()
}
