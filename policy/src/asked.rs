//! What has been asked about the current request. Each thing is asked at most once, when the first rule needs it; the answers are kept in
//! buffers that are used again for the next request.

use std::ops::Range;
use std::rc::Rc;

use crate::engine::{Needs, Request};

/// Something that can be asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    RouteName,
    FilterChain,
    Path,
    Backend,
    ClientAddress,
    Sni,
    /// A header, by its number in [`Needs::headers`].
    Header(u32),
}

impl Thing {
    fn number(self) -> usize {
        match self {
            Self::RouteName => 0,
            Self::FilterChain => 1,
            Self::Path => 2,
            Self::Backend => 3,
            Self::ClientAddress => 4,
            Self::Sni => 5,
            Self::Header(header) => 6 + header as usize,
        }
    }
}

impl Needs {
    /// Notes that rules need a header.
    pub(crate) fn header(&mut self, name: &str) -> Thing {
        let known = self.headers.iter().position(|known| &**known == name);
        let number = known.unwrap_or_else(|| {
            self.headers.push(Rc::from(name));
            self.headers.len() - 1
        });
        Thing::Header(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Notes that rules need something else.
    pub(crate) fn thing(&mut self, thing: Thing) -> Thing {
        match thing {
            Thing::RouteName => self.route_name = true,
            Thing::FilterChain => self.filter_chain = true,
            Thing::Path => self.path = true,
            Thing::Backend => self.backend = true,
            Thing::ClientAddress => self.client_address = true,
            Thing::Sni => self.sni = true,
            Thing::Header(_) => {}
        }
        thing
    }
}

/// The answers so far.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    request: u64,
    answers: Vec<Answer>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Answer {
    /// For which request.
    request: u64,
    value: Option<Range<usize>>,
}

impl Asked {
    /// Forgets the request before.
    pub(crate) fn begin(&mut self) {
        self.request += 1;
        self.bytes.clear();
    }

    /// Asks, unless that has been asked before.
    pub(crate) fn get<R>(&mut self, thing: Thing, needs: &Needs, request: &R) -> Option<&[u8]>
    where
        R: Request + ?Sized,
    {
        let number = thing.number();
        if self.answers.len() <= number {
            self.answers.resize(number + 1, Answer::default());
        }
        let answer = self.answers.get_mut(number)?;
        if answer.request != self.request {
            let value = match thing {
                Thing::RouteName => request.route_name(),
                Thing::FilterChain => request.filter_chain(),
                Thing::Path => request.path(),
                Thing::Backend => request.backend(),
                Thing::ClientAddress => request.client_address(),
                Thing::Sni => request.server_name(),
                Thing::Header(header) => {
                    needs.headers.get(header as usize).and_then(|name| request.header(name))
                }
            };
            let start = self.bytes.len();
            let value = value.map(|value| {
                self.bytes.extend_from_slice(&value);
                start..self.bytes.len()
            });
            *answer = Answer { request: self.request, value };
        }
        self.bytes.get(answer.value.clone()?)
    }
}
