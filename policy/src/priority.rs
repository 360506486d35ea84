//! How important a request is: the name of a level.

use std::rc::Rc;

use crate::asked::Asked;
use crate::config;
use crate::engine::{Needs, Request};
use crate::route_key::RouteKey;

/// A policy's compiled priority.
#[derive(Debug)]
pub(crate) struct Priority {
    /// One alternative each: the first that names a level counts, not the first that says anything.
    from: Vec<RouteKey>,
    default: Rc<str>,
    levels: Vec<Rc<str>>,
}

impl Priority {
    pub(crate) fn compile(priority: &config::Priority, needs: &mut Needs) -> Self {
        let config::Priority { from, default, levels } = priority;
        Self {
            from: from.iter().map(|one| RouteKey::compile(std::slice::from_ref(one), needs)).collect(),
            default: Rc::from(default.as_str()),
            levels: levels.iter().map(|level| Rc::from(level.as_str())).collect(),
        }
    }

    /// The request's level. `buffer` is overwritten.
    pub(crate) fn level<R>(
        &self,
        request: &R,
        needs: &Needs,
        asked: &mut Asked,
        buffer: &mut Vec<u8>,
    ) -> &Rc<str>
    where
        R: Request + ?Sized,
    {
        for from in &self.from {
            if from.extract(request, needs, asked, buffer)
                && let Some(level) = self.levels.iter().find(|level| level.as_bytes() == buffer.as_slice())
            {
                return level;
            }
        }
        &self.default
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Described;

    fn level(request: &Described) -> String {
        let json = r#"{"from": [{"header": "x-priority"}, {"cookie": "plan"}], "default": "normal", "levels": ["high", "normal", "low"]}"#;
        let mut needs = Needs::default();
        let priority = Priority::compile(&serde_json::from_str(json).unwrap(), &mut needs);
        let mut asked = Asked::default();
        asked.begin();
        priority.level(request, &needs, &mut asked, &mut Vec::new()).to_string()
    }

    #[test]
    fn the_first_source_that_names_a_level_counts() {
        let request = Described::default;
        assert_eq!(level(&request()), "normal");
        assert_eq!(level(&request().header("x-priority", "low")), "low");
        assert_eq!(level(&request().header("x-priority", "root").header("cookie", "plan=high")), "high");
        assert_eq!(level(&request().header("x-priority", "LOW")), "normal");
        assert_eq!(level(&request().header("x-priority", b"\xff")), "normal");
    }
}
