//! What the tests of several modules need: requests made up, a store that workers share and that can be made to fail, and configurations from JSON.

pub(crate) mod interleaving;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};

use crate::config::Configuration;
use crate::engine::{Admission, Engine, Request, Verdict};
use crate::store::{CasError, Memory, Store, StoreError, Version};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// A request that counts what it is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Described {
    pub(crate) headers: BTreeMap<String, Vec<u8>>,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) route: Option<Vec<u8>>,
    pub(crate) chain: Option<Vec<u8>>,
    pub(crate) backend: Option<Vec<u8>>,
    pub(crate) client: Option<Vec<u8>>,
    pub(crate) sni: Option<Vec<u8>>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl Described {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.insert(name.into(), value.as_ref().into());
        self
    }

    pub(crate) fn path(path: impl AsRef<[u8]>) -> Self {
        Self { path: Some(path.as_ref().into()), ..Self::default() }
    }

    pub(crate) fn route(route: &str) -> Self {
        Self { route: Some(route.into()), ..Self::default() }
    }

    pub(crate) fn backend(backend: &str) -> Self {
        Self { backend: Some(backend.into()), ..Self::default() }
    }

    pub(crate) fn client(address: &str) -> Self {
        Self { client: Some(address.into()), ..Self::default() }
    }

    fn answer<'a>(&self, what: &str, answer: Option<&'a Vec<u8>>) -> Option<Cow<'a, [u8]>> {
        self.asked.borrow_mut().push(what.into());
        answer.map(|answer| Cow::Borrowed(answer.as_slice()))
    }
}

impl Request for Described {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.answer(name, self.headers.get(name))
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.answer("path", self.path.as_ref())
    }
    fn route_name(&self) -> Option<Cow<'_, [u8]>> {
        self.answer("route", self.route.as_ref())
    }
    fn filter_chain(&self) -> Option<Cow<'_, [u8]>> {
        self.answer("chain", self.chain.as_ref())
    }
    fn backend(&self) -> Option<Cow<'_, [u8]>> {
        self.answer("backend", self.backend.as_ref())
    }
    fn client_address(&self) -> Option<Cow<'_, [u8]>> {
        self.answer("client", self.client.as_ref())
    }
    fn server_name(&self) -> Option<Cow<'_, [u8]>> {
        self.answer("sni", self.sni.as_ref())
    }
}

/// A store that several engines use in turn. Before each write, `interfere` may let others write first; the next operations may be made to fail.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(crate) memory: Rc<RefCell<Memory>>,
    /// Writes that find a conflict although there is none.
    pub(crate) conflicts: Rc<Cell<u32>>,
    /// Operations that still get an answer before `failures` begin.
    pub(crate) answers: Rc<Cell<u32>>,
    /// Operations that get no answer.
    pub(crate) failures: Rc<Cell<u32>>,
    pub(crate) operations: Rc<Cell<u32>>,
}

fn one_less(counter: &Cell<u32>) -> bool {
    let left = counter.get();
    counter.set(left.saturating_sub(1));
    left > 0
}

impl Shared {
    /// Has `failures` operations fail once `answers` have been answered.
    pub(crate) fn fail(&self, answers: u32, failures: u32) {
        self.answers.set(answers);
        self.failures.set(failures);
    }

    fn is_silent(&self) -> bool {
        self.operations.set(self.operations.get() + 1);
        !one_less(&self.answers) && one_less(&self.failures)
    }
}

impl Store for Shared {
    fn read(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<Option<Version>, StoreError> {
        if self.is_silent() {
            return Err(StoreError);
        }
        self.memory.borrow_mut().read(key, value)
    }

    fn compare_and_set(
        &mut self,
        key: &[u8],
        value: &[u8],
        expected: Option<Version>,
    ) -> Result<(), CasError> {
        if self.is_silent() {
            return Err(StoreError.into());
        }
        if one_less(&self.conflicts) {
            return Err(CasError::Conflict);
        }
        self.memory.borrow_mut().compare_and_set(key, value, expected)
    }

    fn entropy(&mut self) -> u128 {
        7
    }
}

/// An engine for policies given as JSON.
#[allow(clippy::needless_pass_by_value, reason = "`json!(..)` reads better where it is called")]
pub(crate) fn engine_at(revision: u64, policies: Value) -> Engine {
    let configuration = json!({ "revision": revision, "policies": policies });
    let configuration = Configuration::parse(configuration.to_string().as_bytes()).unwrap();
    Engine::new(configuration).unwrap()
}

pub(crate) fn engine(policies: Value) -> Engine {
    engine_at(1, policies)
}

/// One policy `p` with one limit `r` without key.
pub(crate) fn limit(rate: &str, burst: u32) -> Value {
    json!([{ "name": "p", "rateLimits": [{ "name": "r", "rate": rate, "burst": burst }] }])
}

pub(crate) fn admitted(verdict: Verdict<'_>) -> Option<Admission> {
    match verdict {
        Verdict::Admit(admission) => Some(admission),
        Verdict::Reject(_) => None,
    }
}

/// `kind/policy/rule after seconds` of a reject.
pub(crate) fn rejected(verdict: &Verdict<'_>) -> Option<String> {
    match verdict {
        Verdict::Admit(_) => None,
        Verdict::Reject(reject) => Some(format!(
            "{}/{}/{} after {}",
            reject.kind.as_str(),
            reject.policy,
            reject.rule,
            reject.retry_after_secs
        )),
    }
}

pub(crate) fn passes(engine: &mut Engine, request: &Described, store: &mut Shared, now: u64) -> bool {
    matches!(engine.decide(request, store, now).verdict, Verdict::Admit(_))
}

/// How many of `count` requests at one moment pass.
pub(crate) fn count(
    engine: &mut Engine,
    request: &Described,
    store: &mut Shared,
    now: u64,
    count: usize,
) -> usize {
    (0..count).filter(|_| passes(engine, request, store, now)).count()
}
