//! Rows and columns of a view, for the screen and for a pipe alike.

use std::cmp::Ordering;

use crate::cli::output::{self, printable};

/// What a view shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What is said where there are no rows.
    pub(super) empty: String,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// What a number is sorted by.
    number: Option<f64>,
}

/// How something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    /// Worth a look.
    Odd,
    Bad,
}

/// Which column rows are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) column: usize,
    pub(super) reversed: bool,
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self { text: printable(text), tone: Tone::default(), number: None }
    }

    /// A number that need not be known.
    pub(super) fn number(number: Option<f64>) -> Self {
        let text = number.map_or_else(|| "-".to_owned(), shown);
        Self { text, tone: Tone::default(), number: Some(number.unwrap_or(-1.0)) }
    }

    /// A number of which every digit counts.
    pub(super) fn count(count: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "only sorted by")]
        let number = Some(count as f64);
        Self { text: count.to_string(), tone: Tone::default(), number }
    }

    /// In this tone, if that is so.
    pub(super) fn tone(self, tone: Tone, is_so: bool) -> Self {
        if is_so { Self { tone, ..self } } else { self }
    }

    /// In this tone if it is more than nothing.
    pub(super) fn if_any(self, tone: Tone) -> Self {
        let any = self.number.is_some_and(|number| number > 0.0);
        self.tone(tone, any)
    }

    pub(super) fn is_number(&self) -> bool {
        self.number.is_some()
    }

    /// Numbers begin with the largest, texts with the first.
    fn before(&self, other: &Self) -> Ordering {
        match (self.number, other.number) {
            (Some(one), Some(other)) => other.total_cmp(&one),
            _ => self.text.cmp(&other.text),
        }
    }
}

/// Three digits that count are enough to look at.
pub(super) fn shown(number: f64) -> String {
    let size = number.abs();
    if size >= 1e6 {
        format!("{:.2}M", number / 1e6)
    } else if size >= 1e5 {
        format!("{:.0}k", number / 1e3)
    } else if size >= 100.0 || (number - number.round()).abs() < 1e-9 {
        format!("{number:.0}")
    } else if size >= 0.1 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

impl Table {
    /// Only rows with this text in them, in this order; rows that are alike there stay as they are.
    pub(super) fn arranged(mut self, filter: &str, order: Order) -> Self {
        let filter = filter.to_lowercase();
        self.rows.retain(|row| row.iter().any(|cell| cell.text.to_lowercase().contains(&filter)));
        self.rows.sort_by(|one, other| {
            let (Some(one), Some(other)) = (one.get(order.column), other.get(order.column)) else {
                return Ordering::Equal;
            };
            if order.reversed { other.before(one) } else { one.before(other) }
        });
        self
    }

    /// As text.
    pub(super) fn print(&self) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let headings = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(|cell| cell.text.clone()).collect());
        output::columns(std::iter::once(headings).chain(rows).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |name: &str, number: Option<f64>| vec![Cell::text(name), Cell::number(number)];
        let rows = vec![row("b\u{1b}", Some(3.0)), row("Ac", None), row("a", Some(20.0))];
        Table { headings: vec!["NAME", "RATE"], rows, empty: "nothing".into() }
    }

    fn names(table: &Table) -> Vec<&str> {
        table.rows.iter().filter_map(|row| row.first()).map(|cell| cell.text.as_str()).collect()
    }

    #[test]
    fn rows_are_sorted_by_text_or_by_size() {
        let order = |column, reversed| Order { column, reversed };
        assert_eq!(names(&table().arranged("", order(0, false))), ["Ac", "a", "b "]);
        assert_eq!(names(&table().arranged("", order(1, false))), ["a", "b ", "Ac"]);
        assert_eq!(names(&table().arranged("", order(1, true))), ["Ac", "b ", "a"]);
        assert_eq!(names(&table().arranged("", order(9, false))), ["b ", "Ac", "a"]);
    }

    #[test]
    fn rows_without_the_text_are_left_out() {
        assert_eq!(names(&table().arranged("AC", Order::default())), ["Ac"]);
        let none = table().arranged("nowhere", Order::default());
        assert_eq!(none.print(), "nothing\n");
        assert_eq!(table().print(), "NAME   RATE\nb      3\nAc     -\na      20\n");
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.0333, "0.03"),
            (2.0, "2"),
            (9.96, "10.0"),
            (99.94, "99.9"),
            (1234.5, "1234"),
            (99_999.0, "99999"),
            (123_456.0, "123k"),
            (7_654_321.0, "7.65M"),
        ] {
            assert_eq!(shown(number), text);
        }
    }
}
