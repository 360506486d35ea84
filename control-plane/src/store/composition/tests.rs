use super::*;
use crate::document::kind::Kind;
use crate::store::directory::Seen;

fn backend(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: spillway.dev/v1\nkind: Backend\nmetadata: {{name: {name}}}\nspec: {{endpoints: []}}{rest}\n"
    )
}

fn files(files: &[(&str, &str)]) -> Files {
    let file = |(name, text): &(&str, &str)| {
        let path = Path::new("/nowhere").join(name);
        (path.as_path().into(), Arc::new(Seen::new(&path, text.as_bytes())))
    };
    files.iter().map(file).collect()
}

fn composed(before: &[(&str, &str)], wanted: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    let wanted = wanted
        .iter()
        .map(|(name, text)| ((Kind::Backend, (*name).to_owned()), text.map(Into::into)))
        .collect();
    let composed = compose(Path::new("/nowhere"), &files(before), &wanted);
    composed
        .into_iter()
        .map(|(path, text)| (path.file_name().unwrap().to_str().unwrap().to_owned(), text))
        .collect()
}

#[test]
fn one_document_is_replaced_and_everything_else_stays() {
    let (a, b, c) = (backend("a", ""), backend("b", " # old"), backend("c", ""));
    let file = format!("# licence\n{a}# about b\n---  # b\n\n{b}\n# more\n---\n{c}");
    let new = backend("b", " # new");
    let expected = format!("# licence\n{a}# about b\n---  # b\n\n{new}\n# more\n---\n{c}");
    assert_eq!(composed(&[("f.yaml", &file)], &[("b", Some(&new))]), [("f.yaml".into(), Some(expected))]);
}

#[test]
fn comments_before_a_document_stay_unless_there_are_others() {
    let (a, b, new) = (backend("a", ""), backend("b", ""), backend("b", " # new"));
    let file = |comment: &str, b: &str| format!("# licence\n{a}---  # b\n\n{comment}{b}# tail\n");
    let before = file("# old\n# and long\n", &b);
    let written = |text: &str| composed(&[("f.yaml", &before)], &[("b", Some(text))])[0].1.clone();
    assert_eq!(written(&new), Some(file("# old\n# and long\n", &new)));
    assert_eq!(written(&format!("# other\n{new}")), Some(file("# other\n", &new)));
    assert_eq!(written(&format!("# other\n{b}")), Some(file("# other\n", &b)));
    let bare = composed(&[("f.yaml", &file("", &b))], &[("b", Some(&format!("# first\n{b}")))]);
    assert_eq!(bare[0].1, Some(file("# first\n", &b)));
    assert!(composed(&[("f.yaml", &before)], &[("b", Some(&format!("# old\n# and long\n{b}")))]).is_empty());
}

#[test]
fn a_document_is_taken_out_and_a_file_with_its_last_one() {
    let (a, b) = (backend("a", ""), backend("b", ""));
    let file = format!("{a}---\n{b}");
    assert_eq!(
        composed(&[("f.yaml", &file)], &[("a", None)]),
        [("f.yaml".into(), Some(format!("---\n{b}")))]
    );
    assert_eq!(composed(&[("f.yaml", &file)], &[("b", None)]), [("f.yaml".into(), Some(a.clone()))]);
    assert_eq!(composed(&[("f.yaml", &file)], &[("a", None), ("b", None)]), [("f.yaml".into(), None)]);
}

#[test]
fn a_new_document_gets_a_file_of_its_own() {
    let (a, b) = (backend("a", ""), backend("b", ""));
    assert_eq!(
        composed(&[("backend-b.yaml", &a)], &[("b", Some(&b))]),
        [("backend-b-2.yaml".into(), Some(b))]
    );
}

#[test]
fn what_is_so_already_is_not_written() {
    let a = backend("a", "");
    assert!(composed(&[("f.yaml", &format!("# x\n{a}"))], &[("a", Some(&a)), ("none", None)]).is_empty());
}

#[test]
fn line_ends_and_markers_with_content_are_kept() {
    let old = format!(
        "--- {}\r\n",
        r"{apiVersion: spillway.dev/v1, kind: Backend, metadata: {name: a}, spec: {endpoints: []}}"
    );
    let new = backend("a", "");
    let expected = format!("--- \r\n{}", new.replace('\n', "\r\n"));
    let got = composed(&[("f.yaml", &old)], &[("a", Some(&new))]);
    assert_eq!(got[0].1.as_ref().unwrap().replace("--- \n", "--- \r\n"), expected);
    let read = crate::document::read("f.yaml", got[0].1.as_ref().unwrap().as_bytes());
    assert!(read.diagnostics.is_empty(), "{:?}", read.diagnostics);
}
