//! What the keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Picture;
use super::table::{Order, Table};
use super::views::View;

/// Rows that a page key goes on by.
const PAGE: usize = 10;

/// What somebody looks at, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Looking {
    pub(super) view: View,
    /// Where the order of a view's rows is not the view's own.
    orders: Vec<(View, Order)>,
    /// What rows must have in them.
    pub(super) filter: String,
    /// Whether keys are letters of the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    /// The row, counted from the first one shown.
    pub(super) row: usize,
}

impl Looking {
    /// What is to be shown of this.
    pub(super) fn table(&self, picture: &Picture) -> Table {
        self.view.table(picture).arranged(&self.filter, self.order())
    }

    /// How the rows are sorted.
    pub(super) fn order(&self) -> Order {
        let own = self.orders.iter().find(|(view, _)| *view == self.view);
        own.map_or_else(|| self.view.order(), |(_, order)| *order)
    }

    fn sort(&mut self, order: Order) {
        self.orders.retain(|(view, _)| *view != self.view);
        self.orders.push((self.view, order));
    }

    /// Whether to go on after this key. `table` is what is shown.
    pub(super) fn press(&mut self, key: KeyEvent, table: &Table) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return key.code != KeyCode::Char('c');
        }
        if self.is_typing {
            self.write(key.code);
            return true;
        }
        let (last, order) = (table.rows.len().saturating_sub(1), self.order());
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Tab | KeyCode::Right => self.turn(self.view.next(1)),
            KeyCode::BackTab | KeyCode::Left => self.turn(self.view.next(View::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='9') => {
                let at = usize::from(u8::try_from(digit).unwrap_or_default() - b'1');
                if let Some(view) = View::ALL.get(at) {
                    self.turn(*view);
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.row = self.row.min(last).saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.row += 1,
            KeyCode::PageUp => self.row = self.row.min(last).saturating_sub(PAGE),
            KeyCode::PageDown => self.row += PAGE,
            KeyCode::Home => self.row = 0,
            KeyCode::End => self.row = last,
            KeyCode::Char('s') => {
                let column = (order.column + 1) % table.headings.len().max(1);
                self.sort(Order { column, reversed: false });
            }
            KeyCode::Char('r') => self.sort(Order { reversed: !order.reversed, ..order }),
            KeyCode::Char('/') => (self.is_typing, self.filter) = (true, String::new()),
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            _ => {}
        }
        self.row = self.row.min(last);
        true
    }

    fn turn(&mut self, view: View) {
        (self.view, self.row) = (view, 0);
    }

    fn write(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => (self.is_typing, self.filter) = (false, String::new()),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyCode::{BackTab, Backspace, Char, Down, End, Enter, Esc, Tab, Up};

    use super::*;
    use crate::cli::top::table::Cell;

    /// What becomes of these keys before three rows of two columns; whether it goes on.
    fn press(looking: &mut Looking, keys: &[KeyCode]) -> bool {
        let rows = (0..3).map(|_| vec![Cell::text("a"), Cell::text("b")]).collect();
        let table = Table { headings: vec!["A", "B"], rows, empty: String::new() };
        keys.iter().all(|key| looking.press(KeyEvent::from(*key), &table))
    }

    #[test]
    fn keys_turn_to_views_and_rows() {
        let mut looking = Looking::default();
        assert!(press(&mut looking, &[Tab, Tab, BackTab, Down, Down, Down, Up]));
        assert_eq!((looking.view, looking.row), (View::Behind, 1));
        press(&mut looking, &[End]);
        assert_eq!(looking.row, 2);
        press(&mut looking, &[BackTab, BackTab]);
        assert_eq!((looking.view, looking.row), (View::Breakers, 0));
        press(&mut looking, &[Char('4'), Char('9')]);
        assert_eq!(looking.view, View::Rules);
    }

    #[test]
    fn every_view_has_an_order_of_its_own() {
        let mut looking = Looking::default();
        press(&mut looking, &[Char('s'), Char('r')]);
        assert_eq!(looking.order(), Order { column: 1, reversed: true });
        press(&mut looking, &[Char('3')]);
        assert_eq!(looking.order(), View::Routes.order());
        press(&mut looking, &[Char('1'), Char('s')]);
        assert_eq!(looking.order(), Order { column: 0, reversed: false });
    }

    #[test]
    fn letters_are_the_filter_s_while_it_is_typed() {
        let mut looking = Looking::default();
        assert!(press(&mut looking, &[Char('/'), Char('q'), Char('p'), Backspace, Enter]));
        assert_eq!((looking.filter.as_str(), looking.is_typing, looking.is_paused), ("q", false, false));
        press(&mut looking, &[Char('p'), Esc]);
        assert_eq!((looking.filter.as_str(), looking.is_paused), ("", true));
    }

    #[test]
    fn q_and_control_c_end_it_also_while_typing() {
        let mut looking = Looking::default();
        assert!(!press(&mut looking, &[Char('q')]));
        press(&mut looking, &[Char('/')]);
        let table = Table { headings: Vec::new(), rows: Vec::new(), empty: String::new() };
        let key = KeyEvent::new(Char('c'), KeyModifiers::CONTROL);
        assert!(!looking.press(key, &table));
        assert!(looking.press(KeyEvent::new(Char('a'), KeyModifiers::CONTROL), &table));
    }
}
