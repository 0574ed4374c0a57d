//! An inventory as a text that people review: a line for each object, its definition indented below.

use std::collections::BTreeSet;

use super::Object;

const INDENT: &str = "    ";

/// Objects as text, in order.
#[must_use]
pub fn render(objects: &BTreeSet<Object>) -> String {
    let mut text = String::new();
    for object in objects {
        text.push_str(&object.title());
        text.push('\n');
        for line in object.definition.trim_end().lines() {
            if !line.is_empty() {
                text.push_str(INDENT);
                text.push_str(line);
            }
            text.push('\n');
        }
    }
    text
}

/// Reads what [`render`] wrote. Only for texts of the host's own: a name that holds ` on ` would be read as two.
#[must_use]
pub fn parse(text: &str) -> BTreeSet<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix(INDENT), objects.last_mut()) {
            (Some(more), Some(object)) => append(object, more),
            (None, Some(object)) if line.is_empty() => append(object, ""),
            _ => objects.extend(title(line)),
        }
    }
    for object in &mut objects {
        object.definition = trimmed(&object.definition);
    }
    objects.into_iter().collect()
}

fn append(object: &mut Object, line: &str) {
    object.definition.push_str(line);
    object.definition.push('\n');
}

fn title(line: &str) -> Option<Object> {
    let (head, on) = line.rsplit_once(" on ").unwrap_or((line, ""));
    let (kind, name) = super::WORDS
        .iter()
        .filter_map(|(kind, word)| Some((*kind, head.strip_prefix(word)?)))
        .find(|(_, rest)| rest.is_empty() || rest.starts_with(' '))?;
    Some(Object { kind, on: on.to_owned(), name: name.trim_start().to_owned(), definition: String::new() })
}

/// Definitions are compared without the white space at their end, which a text does not keep.
pub(super) fn trimmed(definition: &str) -> String {
    definition.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::Kind, *};

    #[test]
    fn what_is_written_is_read_again() {
        let object = |kind, on: &str, name: &str, definition: &str| Object {
            kind,
            on: on.to_owned(),
            name: name.to_owned(),
            definition: definition.to_owned(),
        };
        let objects: BTreeSet<Object> = [
            object(Kind::Function, "", "platform.f(a text)", "CREATE OR REPLACE FUNCTION\n\n  begin\n    x\n  end"),
            object(Kind::Policy, "a.b", "own", "as permissive"),
            object(Kind::Protection, "a.b", "", "enabled, forced"),
            object(Kind::Table, "", "a.b", ""),
        ]
        .into();
        assert_eq!(parse(&render(&objects)), objects);
    }
}
