use proptest::prelude::*;
use serde_json::json;

use super::*;

fn lines(before: &Value, after: &Value) -> Vec<String> {
    fields(before, after).iter().map(ToString::to_string).collect()
}

#[test]
fn every_field_that_differs_is_named_with_both_values() {
    let before = json!({"spec": {"fleet": "a", "listeners": [{"name": "web", "port": 80}], "old": [1, 2]}});
    let after = json!({"spec": {"fleet": "b", "listeners": [{"name": "web", "port": 81}], "old": [1], "new": {"x": 1}}});
    assert_eq!(
        lines(&before, &after),
        [
            r#"spec.fleet: "a" -> "b""#,
            "spec.listeners[web].port: 80 -> 81",
            r#"spec.new: + {"x":1}"#,
            "spec.old[1]: - 2",
        ]
    );
}

#[test]
fn items_with_names_are_compared_by_name() {
    let before = json!([{"name": "a", "w": 1}, {"name": "b", "w": 2}]);
    let after = json!([{"name": "new", "w": 3}, {"name": "a", "w": 1}]);
    assert_eq!(lines(&before, &after), [r#"[new]: + {"name":"new","w":3}"#, r#"[b]: - {"name":"b","w":2}"#]);
}

#[test]
fn another_order_is_a_difference() {
    let before = json!({"l": [{"name": "a"}, {"name": "b"}]});
    let after = json!({"l": [{"name": "b"}, {"name": "a"}]});
    assert_eq!(lines(&before, &after), [r#"l: ["a","b"] -> ["b","a"]"#]);
}

#[test]
fn items_that_share_a_name_are_compared_by_position() {
    let before = json!([{"name": "x", "value": 1}, {"name": "x", "value": 2}]);
    let after = json!([{"name": "x", "value": 1}, {"name": "x", "value": 3}]);
    assert_eq!(lines(&before, &after), ["[1].value: 2 -> 3"]);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..3).prop_map(Value::from)];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("name|a|b", inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn there_are_changes_exactly_where_values_differ(before in value(), after in value()) {
        prop_assert_eq!(fields(&before, &after).is_empty(), before == after);
    }

    #[test]
    fn the_way_back_has_as_many_changes(before in value(), after in value()) {
        prop_assert_eq!(fields(&before, &after).len(), fields(&after, &before).len());
    }
}
