use super::*;

fn diagnostic(text: &str, line: u32, column: u32, length: u32) -> Diagnostic {
    let problem = Problem::new("unknown field `wieght`").at(Place { line, column, length });
    let problem = problem.field("spec.rules[0].backendRefs[0].wieght").help("did you mean `weight`?");
    Source::new("conf/routes.yaml", text).diagnostic("Route orders", problem)
}

#[test]
fn an_error_shows_the_line_and_points_at_the_place() {
    let text = "a:\n  - {name: v1, wieght: 70}\n";
    assert_eq!(
        diagnostic(text, 2, 16, 6).to_string(),
        "\
error: unknown field `wieght`
 --> conf/routes.yaml:2:16
  |
2 |   - {name: v1, wieght: 70}
  |                ^^^^^^
  = document: Route orders
  = field: spec.rules[0].backendRefs[0].wieght
  = help: did you mean `weight`?
"
    );
}

#[test]
fn an_error_fits_one_line_of_a_log() {
    assert_eq!(
        diagnostic("x", 1, 1, 1).one_line(),
        "conf/routes.yaml:1:1: Route orders: spec.rules[0].backendRefs[0].wieght: unknown field `wieght` (did you mean `weight`?)"
    );
}

#[test]
fn what_could_steer_a_terminal_is_never_printed() {
    let problem = Problem::new("found \u{1b}[31m\u{202e}x\r\n").at(Place { line: 1, column: 1, length: 1 });
    let shown = Source::new("a\u{7}\u{1b}.yaml", "\u{1b}[2J\u{202e}abc").diagnostic("", problem);
    for text in [shown.to_string().replace('\n', ""), shown.one_line()] {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
    assert!(shown.one_line().contains(r"\u{1b}[31m"), "{}", shown.one_line());
}

#[test]
fn long_lines_are_cut_and_still_point_at_the_place() {
    let text = format!("{}bad{}", "x".repeat(5000), "y".repeat(5000));
    let shown = diagnostic(&text, 1, 5001, 3).to_string();
    let lines: Vec<_> = shown.lines().collect();
    let caret = lines[4].find('^').unwrap();
    assert_eq!(&lines[3][caret..caret + 3], "bad");
    assert!(lines[3].len() < 200);
}

#[test]
fn places_outside_the_text_are_no_reason_to_fail() {
    for (line, column) in [(0, 0), (1, 0), (9, 1), (1, 99)] {
        assert!(diagnostic("abc", line, column, 1000).to_string().contains("error:"));
    }
}

#[test]
fn json_has_line_and_column_beside_the_file() {
    let json = serde_json::to_value(diagnostic("x", 3, 7, 1)).unwrap();
    assert_eq!(
        (&json["file"], &json["line"], &json["column"]),
        (&"conf/routes.yaml".into(), &3.into(), &7.into())
    );
}
