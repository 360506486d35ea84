//! How changes are shown to people.

use std::fmt::Write as _;

use super::output::{Paint, printable};
use crate::api::FleetDifference;
use crate::store::Applied;
use crate::store::difference::{Action, DocumentChange, FieldChange};

/// Longer values are cut: the rest is for `-o json`.
const MAX_VALUE: usize = 200;

/// What a change has done, or would do, and the revision.
pub(super) fn text(applied: &Applied) -> String {
    let mut text = documents(&applied.changes);
    let _ = match (applied.changes.is_empty(), applied.dry_run) {
        (true, _) => writeln!(text, "nothing changes: revision {}", applied.revision),
        (false, true) => {
            writeln!(text, "nothing was changed: this was a dry run on revision {}", applied.revision)
        }
        (false, false) => writeln!(text, "revision {}", applied.revision),
    };
    text
}

/// Documents that differ, field by field.
pub(super) fn documents(changes: &[DocumentChange]) -> String {
    let mut text = String::new();
    for DocumentChange { kind, name, action, fields } in changes {
        let _ = writeln!(text, "{}", headline(*action, &format!("{kind} {name}")));
        if *action == Action::Changed {
            lines(&mut text, fields);
        }
    }
    text
}

/// Resources that differ, fleet by fleet and field by field.
pub(super) fn fleets(fleets: &[FleetDifference]) -> String {
    let mut text = String::new();
    for FleetDifference { fleet, resources } in fleets {
        let _ = writeln!(text, "{}", Paint::stdout().bold(&format!("fleet {}", printable(fleet))));
        for resource in resources {
            let of_type = resource.type_url.rsplit('.').next().unwrap_or_default();
            let name = format!("{of_type} {}", resource.name);
            let _ = writeln!(text, "{}", headline(resource.action, &name));
            if resource.action == Action::Changed {
                lines(&mut text, &resource.fields);
            }
        }
    }
    text
}

fn headline(action: Action, what: &str) -> String {
    let (paint, what) = (Paint::stdout(), printable(what));
    match action {
        Action::Added => paint.green(&format!("+ {what}")),
        Action::Removed => paint.red(&format!("- {what}")),
        Action::Changed => paint.yellow(&format!("~ {what}")),
    }
}

fn lines(text: &mut String, fields: &[FieldChange]) {
    if fields.is_empty() {
        text.push_str("    only comments or layout\n");
    }
    for FieldChange { field, before, after } in fields {
        let show = |value: &serde_json::Value| {
            let text = printable(&value.to_string());
            match text.char_indices().nth(MAX_VALUE) {
                Some((at, _)) => format!("{} ...", text.get(..at).unwrap_or_default()),
                None => text,
            }
        };
        let (field, paint) = (printable(field), Paint::stdout());
        let _ = match (before, after) {
            (Some(before), Some(after)) => {
                writeln!(text, "    {field}: {} -> {}", paint.red(&show(before)), paint.green(&show(after)))
            }
            (None, Some(after)) => writeln!(text, "    {field}: + {}", paint.green(&show(after))),
            (Some(before), None) => writeln!(text, "    {field}: - {}", paint.red(&show(before))),
            (None, None) => writeln!(text, "    {field}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::kind::Kind;

    #[test]
    fn changes_are_told_field_by_field_and_the_revision_last() {
        let field = |field: &str, before, after| FieldChange { field: field.into(), before, after };
        let changed = DocumentChange {
            kind: Kind::Route,
            name: "orders".into(),
            action: Action::Changed,
            fields: vec![
                field("spec.a", Some(json!("1s")), Some(json!("2s"))),
                field("spec.b", None, Some(json!([1]))),
                field("spec.c", Some(json!("\u{1b}")), None),
            ],
        };
        let removed =
            DocumentChange { kind: Kind::Backend, name: "x".into(), action: Action::Removed, fields: vec![] };
        let applied = Applied { revision: 7, changes: vec![changed, removed], dry_run: false };
        let expected = "\
~ Route orders
    spec.a: \"1s\" -> \"2s\"
    spec.b: + [1]
    spec.c: - \"\\u001b\"
- Backend x
revision 7
";
        assert_eq!(text(&applied), expected);
        assert!(text(&Applied { changes: vec![], ..applied }).starts_with("nothing changes"));
    }
}
