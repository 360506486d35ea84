//! The figures as a picture.

use std::fmt::Write as _;

use super::report::Compared;
use super::variant::Filter;

const WIDTH: u32 = 940;
/// Names end and bars begin here.
const AXIS: u32 = 440;
/// The longest bar.
const LONGEST: f64 = 400.0;

/// Bars of what each filter adds, a group for each scenario. The same figures give the same bytes.
pub(super) fn bars(title: &str, rows: &[Compared<'_>]) -> String {
    let filters: Vec<_> = rows.iter().filter(|one| one.row.filter != Filter::None).collect();
    let most = filters.iter().map(|one| one.added).fold(1.0, f64::max);
    let (mut bars, mut y) = (String::new(), 46);
    let mut last = None;
    for Compared { row, added, of_lua } in filters {
        let group = (row.scenario, row.answers, row.workers);
        if last.is_some_and(|last| last != group) {
            y += 12;
        }
        last = Some(group);
        let length = LONGEST * added.max(0.0) / most;
        let colour = match row.filter {
            Filter::Spillway => "#2563eb",
            Filter::Lua => "#9ca3af",
            Filter::Native | Filter::None => "#d1d5db",
        };
        let workers = if row.workers == 1 { String::new() } else { format!(", {} workers", row.workers) };
        let name = format!("{}, by {}{workers}: {}", row.scenario, row.answers.as_str(), row.filter.as_str());
        let ratio = of_lua.filter(|_| row.filter == Filter::Spillway);
        let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2})"));
        let (text, name_end, value) = (y + 11, AXIS - 8, f64::from(AXIS) + 6.0 + length);
        // Writing to a String does not fail.
        let _ = writeln!(
            bars,
            "<text x=\"{name_end}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{AXIS}\" y=\"{y}\" width=\"{length:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{value:.1}\" y=\"{text}\">{added:+.1} us{ratio}</text>"
        );
        y += 18;
    }
    let height = y + 10;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"18\" font-weight=\"bold\">CPU time that an HTTP filter adds to a request (in parentheses: with Lua's as 1)</text>\n\
         <text x=\"10\" y=\"34\">{title}</text>\n{bars}</svg>\n"
    )
}
