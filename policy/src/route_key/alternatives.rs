//! Which of many alternatives a path can complete, found without trying one after the other.
//!
//! A router such as `matchit` answers with the most specific template and refuses two that overlap; here overlapping ones are alternatives and the *first* that is
//! complete counts, whatever is more specific. So this is a tree of our own: it says which alternative may be the next one to try, and the alternative itself decides, so
//! the tree can cost time when it is wrong but never change an answer that the list would have given. Lists of a few are tried as they are.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::template::{Segment, Template};

/// Alternatives by the paths that they match.
#[derive(Debug, Clone, Default)]
pub(super) struct Alternatives {
    nodes: Vec<Node>,
    /// Those that say nothing about the path, in order.
    others: Vec<u32>,
}

/// What is known of all paths that begin with the same segments.
#[derive(Debug, Clone, Default)]
struct Node {
    literals: HashMap<Box<[u8]>, u32, BuildHasherDefault<SegmentHasher>>,
    /// Where one segment of any bytes leads.
    any: Option<u32>,
    /// Templates that end here, in order.
    ends: Vec<u32>,
    /// Templates whose `**` stands here, in order.
    open: Vec<u32>,
    /// The last alternative at this node or below.
    last: u32,
}

impl Alternatives {
    /// Of alternatives in their order; `None` is one that says nothing about the path.
    pub(super) fn new<'t>(alternatives: impl Iterator<Item = Option<&'t Template>>) -> Self {
        let mut found = Self { nodes: vec![Node::default()], others: Vec::new() };
        for (number, template) in (0..).zip(alternatives) {
            match template {
                Some(template) => found.add(number, template),
                None => found.others.push(number),
            }
        }
        found
    }

    fn add(&mut self, number: u32, template: &Template) {
        let mut at = 0;
        self.reach(at, number);
        for segment in &template.segments {
            let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
            let Some(node) = self.node_mut(at) else { return };
            let child = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::Any | Segment::Capture(_) => *node.any.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child;
            self.reach(at, number);
        }
        if let Some(node) = self.node_mut(at) {
            if template.open { &mut node.open } else { &mut node.ends }.push(number);
        }
    }

    fn reach(&mut self, node: u32, number: u32) {
        if let Some(node) = self.node_mut(node) {
            node.last = number;
        }
    }

    fn node_mut(&mut self, number: u32) -> Option<&mut Node> {
        self.nodes.get_mut(number as usize)
    }

    /// The first alternative from `from` on that `path` (up to the first `?` or `#`) can complete; `None` where there is no path.
    pub(super) fn next(&self, path: Option<&[u8]>, from: u32) -> Option<u32> {
        let mut best = self.others.get(self.others.partition_point(|number| *number < from)).copied();
        if let Some(path) = path.and_then(|path| path.strip_prefix(b"/")) {
            self.search(0, Some(path), from, &mut best);
        }
        best
    }

    /// Looks for a better one below a node. `rest` is what is left of the path; `None`: nothing, not even an empty segment.
    fn search(&self, node: u32, rest: Option<&[u8]>, from: u32, best: &mut Option<u32>) {
        let Some(node) = self.nodes.get(node as usize) else { return };
        if node.last < from {
            return;
        }
        let mut consider = |numbers: &[u32]| {
            let candidate = numbers.get(numbers.partition_point(|number| *number < from));
            if let Some(candidate) = candidate.filter(|candidate| best.is_none_or(|best| **candidate < best))
            {
                *best = Some(*candidate);
            }
        };
        consider(&node.open);
        let Some(rest) = rest else { return consider(&node.ends) };
        let (segment, rest) = match rest.iter().position(|byte| *byte == b'/') {
            Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end + 1..)),
            None => (rest, None),
        };
        if let Some(child) = node.literals.get(segment) {
            self.search(*child, rest, from, best);
        }
        if let (Some(child), false) = (node.any, segment.is_empty()) {
            self.search(child, rest, from, best);
        }
    }
}

/// FNV-1a. The tree's keys come from the configuration, so no client can make them collide.
#[derive(Debug, Clone, Copy)]
struct SegmentHasher(u64);

impl Default for SegmentHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for SegmentHasher {
    fn finish(&self) -> u64 {
        // The table takes its tags from the highest bits, which FNV leaves to the last bytes.
        self.0 ^ self.0.rotate_left(29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // A segment is the whole key: its length tells nothing more.
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the list says: the first that gives any bytes.
    fn linear(templates: &[Template], path: &[u8], from: usize) -> Option<u32> {
        let matches = |template: &Template| {
            let mut key = Vec::new();
            template.append(path, &mut key);
            !key.is_empty()
        };
        let found = templates.iter().skip(from).position(matches)?;
        Some(u32::try_from(found + from).unwrap())
    }

    fn of(templates: &[Template]) -> Alternatives {
        Alternatives::new(templates.iter().map(Some))
    }

    #[test]
    fn the_first_counts_and_not_the_most_specific() {
        let templates = ["/a/**", "/a/b", "/{x}/b", "/a/b/"].map(|t| Template::parse(t, "k").unwrap());
        let tree = of(&templates);
        let all = |path: &[u8]| {
            let mut found = Vec::new();
            while let Some(number) = tree.next(Some(path), found.last().map_or(0, |last| last + 1)) {
                found.push(number);
            }
            found
        };
        assert_eq!(all(b"/a/b"), [0, 1, 2]);
        assert_eq!(all(b"/a/b/"), [0, 3]);
        assert_eq!(all(b"/a"), [0]);
        assert_eq!(all(b"/x/b"), [2]);
        assert_eq!(all(b"//b"), [0; 0]);
    }

    #[test]
    fn what_says_nothing_about_the_path_is_tried_in_its_turn() {
        let template = Template::parse("/a/{x}", "{x}").unwrap();
        let tree = Alternatives::new([None, Some(&template), None].into_iter());
        assert_eq!(tree.next(Some(b"/a/b"), 0), Some(0));
        assert_eq!(tree.next(Some(b"/a/b"), 1), Some(1));
        assert_eq!(tree.next(Some(b"/b"), 1), Some(2));
        assert_eq!(tree.next(None, 1), Some(2));
        assert_eq!(tree.next(Some(b"/a/b"), 3), None);
    }

    proptest! {
        /// Templates and paths of so few names that they overlap in every way.
        #[test]
        fn the_tree_finds_what_the_list_finds(
            texts in prop::collection::vec("(/(a|b|\\{x\\}|\\*)){0,4}(/|/\\*\\*)?", 1..20),
            paths in prop::collection::vec("(/(a|b|c|))*", 1..20),
            from in 0..20_usize,
        ) {
            let templates: Vec<Template> =
                texts.iter().filter_map(|text| Template::parse(text, "k").ok()).collect();
            let tree = of(&templates);
            for path in paths {
                prop_assert_eq!(
                    tree.next(Some(path.as_bytes()), u32::try_from(from).unwrap()),
                    linear(&templates, path.as_bytes(), from),
                    "{} of {:?}", path, texts
                );
            }
        }
    }
}
