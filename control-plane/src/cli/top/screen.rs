//! The screen: one view below the sums of all, and who does not answer below that.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, TableState};

use super::keys::Looking;
use super::model::{Picture, Standing};
use super::table::{self, Tone};
use super::views::View;
use crate::cli::output::printable;

/// So many of those who do not answer get a line.
const SHOWN_AWAY: usize = 3;

/// No column but the last is wider.
const MAX_WIDTH: usize = 40;

const KEYS: &str = "q quit  tab view  / filter  s sort  r reverse  p pause";

/// Draws what somebody looks at.
pub(super) fn draw(frame: &mut Frame<'_>, picture: &Picture, looking: &Looking, is_coloured: bool) {
    let away = away(picture);
    let height = u16::try_from(away.len()).unwrap_or(u16::MAX);
    let rows =
        [Constraint::Length(1), Constraint::Length(1), Constraint::Fill(1), Constraint::Length(height)];
    let [head, tabs, body, below, foot] =
        Layout::vertical(rows.into_iter().chain([Constraint::Length(1)])).areas(frame.area());
    frame.render_widget(Line::from(sums(picture)).bold(), head);
    frame.render_widget(views(looking), tabs);
    rows_of(frame, body, &looking.table(picture), looking, is_coloured);
    let style = colour(Tone::Bad, is_coloured);
    frame.render_widget(
        Paragraph::new(away.into_iter().map(Line::from).collect::<Vec<_>>()).style(style),
        below,
    );
    frame.render_widget(foot_line(looking), foot);
}

/// All of it in one line.
pub(super) fn sums(picture: &Picture) -> String {
    let figures = &picture.figures;
    let newest = picture.fleets.iter().filter_map(|fleet| fleet.revision).max();
    let revision = newest.map_or_else(String::new, |number| format!("  revision {number}"));
    let text = format!("{}{revision}", printable(&picture.server.url));
    if picture.sources.is_empty() {
        return text;
    }
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), table::shown);
    let [requests, rejected, shadowed] = [figures.requests, figures.rejected, figures.shadowed].map(rate);
    let envoys = if figures.envoys == 1 { "Envoy" } else { "Envoys" };
    let count = figures.envoys;
    format!("{text}  {count} {envoys}: {requests} requests/s, {rejected} rejected/s, {shadowed} shadowed/s")
}

/// Who does not answer, a line each.
pub(super) fn away(picture: &Picture) -> Vec<String> {
    let mut lines: Vec<_> = picture.away().map(line_of).collect();
    if lines.len() > SHOWN_AWAY {
        let more = lines.split_off(SHOWN_AWAY - 1).len();
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Why somebody does not answer, and for how long.
pub(super) fn line_of(standing: &Standing) -> String {
    let Standing { url, error, away_for } = standing;
    let since = away_for.filter(|seconds| *seconds >= 1.0);
    let since = since.map_or_else(String::new, |seconds| format!(" (for {seconds:.0} s)"));
    printable(&format!("{url} {}{since}", error.as_deref().unwrap_or("answers")))
}

fn views(looking: &Looking) -> Line<'static> {
    let mut spans = Vec::new();
    for (number, view) in (1..).zip(View::ALL) {
        let span = Span::raw(format!(" {number} {} ", view.title()));
        spans.push(if view == looking.view { span.reversed() } else { span });
    }
    if looking.is_paused {
        spans.push(Span::raw("  paused").bold());
    }
    Line::from(spans)
}

fn foot_line(looking: &Looking) -> Line<'static> {
    let filter = printable(&looking.filter);
    if looking.is_typing {
        return Line::from(format!("/{filter}_"));
    }
    let filter = if filter.is_empty() { filter } else { format!("only /{filter} (esc: all)  ") };
    Line::from(format!("{filter}{KEYS}")).dim()
}

fn rows_of(frame: &mut Frame<'_>, area: Rect, shown: &table::Table, looking: &Looking, is_coloured: bool) {
    if shown.rows.is_empty() {
        let text = if looking.filter.is_empty() { shown.empty.as_str() } else { "nothing of that" };
        frame.render_widget(Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true }), area);
        return;
    }
    let order = looking.order();
    let headings: Vec<String> = (0..)
        .zip(&shown.headings)
        .map(|(column, heading)| {
            let mark = if column != order.column {
                ""
            } else if order.reversed {
                "^"
            } else {
                "v"
            };
            format!("{heading}{mark}")
        })
        .collect();
    let last = headings.len().saturating_sub(1);
    let is_number = |column| shown.rows.iter().any(|row| row.get(column).is_some_and(table::Cell::is_number));
    let widths = headings.iter().enumerate().map(|(column, heading)| {
        let cells = shown.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
        let width = cells.chain([heading.chars().count()]).max().unwrap_or(0);
        if column == last && !is_number(column) {
            return Constraint::Fill(1);
        }
        Constraint::Length(u16::try_from(width.min(MAX_WIDTH)).unwrap_or(u16::MAX))
    });
    let widths: Vec<_> = widths.collect();
    let line = |text: String, is_number: bool| {
        let line = Line::from(text);
        if is_number { line.right_aligned() } else { line }
    };
    let rows = shown.rows.iter().map(|row| {
        Row::new(
            row.iter()
                .map(|cell| line(cell.text.clone(), cell.is_number()).style(colour(cell.tone, is_coloured))),
        )
    });
    let header = (0..).zip(&headings).map(|(column, heading)| line(heading.clone(), is_number(column)));
    let table = Table::new(rows, widths)
        .header(Row::new(header).bold())
        .column_spacing(2)
        .row_highlight_style(Modifier::REVERSED);
    let row = looking.row.min(shown.rows.len().saturating_sub(1));
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(row));
}

fn colour(tone: Tone, is_coloured: bool) -> Style {
    match tone {
        _ if !is_coloured => Style::new(),
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Odd => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}

#[cfg(test)]
mod tests;
