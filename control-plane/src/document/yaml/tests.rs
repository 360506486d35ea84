use super::*;

fn problems(text: &str) -> Vec<(u32, u32, String)> {
    let at = |problem: Problem| {
        let place = problem.place.unwrap_or_default();
        (place.line, place.column, problem.message)
    };
    parse(text).problems.into_iter().map(at).collect()
}

fn only(text: &str) -> (u32, u32, String) {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
    problems.remove(0)
}

#[test]
fn every_value_and_key_knows_its_place() {
    let parsed = parse("a: 1\nb:\n  - {é: \"x\"}\n");
    assert!(parsed.complete && parsed.problems.is_empty());
    let entry = parsed.documents[0].entry("b").unwrap();
    assert_eq!(entry.place, Place { line: 2, column: 1, length: 1 });
    let Value::Sequence(items) = &entry.node.value else { panic!("{entry:?}") };
    assert_eq!(items[0].place, Place { line: 3, column: 5, length: 1 });
    let inner = items[0].entry("é").unwrap();
    assert_eq!((inner.place.column, inner.node.place), (6, Place { line: 3, column: 9, length: 3 }));
}

#[test]
fn empty_documents_are_none() {
    for text in ["", "\n", "# only a comment\n", "---\n---\n# c\n", "...\n"] {
        let parsed = parse(text);
        assert!(
            parsed.complete && parsed.documents.is_empty() && parsed.problems.is_empty(),
            "{text:?}: {parsed:?}"
        );
    }
    assert_eq!(parse("a: 1\n---\n---\nb: 2\n---\n").documents.len(), 2);
}

#[test]
fn a_key_twice_is_an_error_at_the_second_and_the_first_counts() {
    let text = "a: 1\nb: {c: 1, c: 2}\na: 3\n";
    let expected =
        [(2, 11, "the key `c` is there twice".into()), (3, 1, "the key `a` is there twice".into())];
    assert_eq!(problems(text), expected);
    let first = parse(text).documents.remove(0);
    assert!(matches!(&first.get("a").unwrap().value, Value::Scalar { text, .. } if &**text == "1"));
}

#[test]
fn errors_of_syntax_have_a_place_and_leave_what_came_before() {
    let text = "a: 1\n---\nb: [1\n---\nc: 2\n";
    let parsed = parse(text);
    assert_eq!((parsed.documents.len(), parsed.problems.len(), parsed.complete), (1, 1, false));
    assert_eq!(only("a: b\nc:\n\td: e\n"), (3, 1, "not valid YAML: a tab cannot indent".into()));
    assert_eq!(
        only("a: \"x\n\n"),
        (1, 4, "not valid YAML: the quotes that start here are never closed".into())
    );
    assert_eq!(only("a: b: c"), (1, 5, "not valid YAML: a `:` where no key can be".into()));
    for (text, place) in
        [("a: 1\nb\nc: 2\n", (2, 1)), ("a: 1\nb\n", (2, 1)), ("a:\n  b: 1\n  cd\n\n  # e\n  f: 1\n", (3, 3))]
    {
        let (line, column, message) = only(text);
        assert_eq!(
            ((line, column), message.as_str()),
            (place, "not valid YAML: a key without `:`"),
            "{text}"
        );
    }
    assert_eq!(only("? [a]\n: b\n"), (1, 3, "a list or mapping cannot be a key".into()));
    assert_eq!(only("a: !!binary eA=="), (1, 4, "unexpected tag `tag:yaml.org,2002:!binary`".into()));
    assert_eq!(only("a: !x [1]").2, "unexpected tag `!x`");
}

#[test]
fn aliases_are_expanded() {
    let parsed = parse("a: &x [1, 2]\nb: *x\n");
    assert!(parsed.problems.is_empty());
    assert!(
        matches!(&parsed.documents[0].get("b").unwrap().value, Value::Sequence(items) if items.len() == 2)
    );
    assert_eq!(only("a: *x").2, "this alias refers to no anchor before it in the document");
    assert_eq!(only("a: &x [*x]").2, "this alias stands within the value it refers to");
    assert_eq!(only("a: &x 1\n---\nb: *x").2, "this alias refers to no anchor before it in the document");
}

#[test]
fn a_small_file_cannot_become_a_large_tree() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.extend([format!("a{level}: &a{level} [{refs}]\n")]);
    }
    assert_eq!(only(&bomb).2, "the file has more than 500000 values, aliases expanded");
    // One level more with each alias, although none is written deep.
    let mut tower = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        tower.extend([format!("a{level}: &a{level} [*a{}]\n", level - 1)]);
    }
    assert_eq!(only(&tower).2, "values nest deeper than 64 levels");
    for open in ["[", "{a: ", "- ", "? "] {
        assert_eq!(problems(&open.repeat(100_000)).len(), 1, "{open}");
    }
}

#[test]
fn a_tag_can_make_a_string_of_a_number() {
    let parsed = parse("a: !!str 5\n");
    assert!(matches!(&parsed.documents[0].get("a").unwrap().value, Value::Scalar { plain: false, .. }));
}
