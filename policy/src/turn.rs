//! Spans of time of one length, counted from the clock's zero, so that all workers agree on where one ends.

/// What belongs to a span of time and to the one before it; the span by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Turn<T> {
    pub(crate) number: u64,
    pub(crate) current: T,
    pub(crate) before: T,
}

impl<T: Default + Copy> Turn<T> {
    /// It is this span by now.
    pub(crate) fn advance(&mut self, number: u64) {
        if number == self.number {
            return;
        }
        let follows = number == self.number.saturating_add(1);
        // A number far behind comes from a clock that was set back; one just behind, from another worker's reading of it.
        if number > self.number || self.number - number > 2 {
            let before = if follows { self.current } else { T::default() };
            *self = Self { number, current: T::default(), before };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_current_becomes_what_was_before_and_then_nothing() {
        let mut turn = Turn { number: 7, current: 3, before: 2 };
        turn.advance(7);
        assert_eq!(turn, Turn { number: 7, current: 3, before: 2 });
        turn.advance(6);
        assert_eq!(turn.number, 7, "another worker's clock is a little behind");
        turn.advance(8);
        assert_eq!(turn, Turn { number: 8, current: 0, before: 3 });
        turn.current = 5;
        turn.advance(10);
        assert_eq!(turn, Turn { number: 10, current: 0, before: 0 });
        turn.current = 5;
        turn.advance(2);
        assert_eq!(turn, Turn { number: 2, current: 0, before: 0 }, "a clock that was set back");
    }
}
