//! The tokenizer against what PostgreSQL writes, and against what nobody writes.

use proptest::prelude::*;

use super::*;

fn node(text: &str) -> Node {
    match Value::read(text) {
        Ok(Value::Node(node)) => node,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_that_looks_like_a_label_is_a_value() {
    let alias = node("{ALIAS :aliasname :relid :colnames <>}");
    assert_eq!(alias.get("aliasname"), &Value::Atom(":relid".into()));
    assert_eq!(alias.get("colnames"), &Value::Nothing);
    assert_eq!(alias.oid("relid"), None);
}

#[test]
fn escapes_take_away_the_meaning_of_brackets_and_of_nothing() {
    let alias = node(r#"{ALIAS :aliasname \<> :colnames ("a\ \(b\)" "\"" ")}"#.replace(r#" ")}"#, ")}").as_str());
    assert_eq!(alias.get("aliasname"), &Value::Atom("<>".into()));
    assert_eq!(alias.get("colnames").items(), [Value::Text("a (b)".into()), Value::Text("\"".into())]);
}

#[test]
fn lists_of_numbers_and_bytes_of_constants_are_read() {
    let node = node("{CONST :cols (b 8 9) :types (o 25) :mods (i -1) :none (b) :constvalue 4 [ -12 1 0 0 0 0 0 0 ]}");
    assert_eq!(node.get("cols").numbers(), [8, 9]);
    assert_eq!(node.get("types").numbers(), [25]);
    assert_eq!(node.get("mods").numbers(), [-1]);
    assert!(node.get("none").numbers().is_empty());
    assert_eq!(node.get("constvalue"), &Value::Bytes(vec![244, 1, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn broken_text_is_refused_and_never_half_read() {
    for text in ["", "{", "{A :x", "{A x}", "(", "(b x)", "{A :constvalue 4 ( }", "{A} {B}", "a\\", ")", "{A :x }"] {
        assert!(Value::read(text).is_err(), "{text:?}");
    }
    assert!(Value::read(&"(".repeat(100_000)).is_err(), "no stack overflow");
}

/// As `outToken` in PostgreSQL 15 writes a name.
fn out_token(name: &str) -> String {
    let mut out = String::new();
    let mut chars = name.chars();
    let (first, second) = (chars.next(), chars.next());
    let signed = matches!(first, Some('+' | '-')) && second.is_some_and(|c| c.is_ascii_digit() || c == '.');
    if signed || first.is_some_and(|c| c == '<' || c == '"' || c.is_ascii_digit()) {
        out.push('\\');
    }
    for c in name.chars() {
        if matches!(c, ' ' | '\n' | '\t' | '(' | ')' | '{' | '}' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

proptest! {
    #[test]
    fn any_name_survives_as_alias_and_as_column(name in "[^\u{0}]{1,40}", column in "[^\u{0}]{1,20}") {
        let text = format!("{{ALIAS :aliasname {} :colnames (\"{}\") :relid 7}}", out_token(&name), out_token(&column));
        let alias = node(&text);
        prop_assert_eq!(alias.get("aliasname"), &Value::Atom(name));
        prop_assert_eq!(alias.get("colnames").items(), &[Value::Text(column)]);
        prop_assert_eq!(alias.oid("relid"), Some(7));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = Value::read(&text);
    }
}
