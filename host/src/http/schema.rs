//! [`Shape`]s as JSON Schema (draft 2020-12, as OpenAPI 3.1 wants it): the same bounds that [`crate::plugin::value`]
//! checks, so that a document which validates is a document which is accepted.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::plugin::shape::{Format, Named, Record, Shape, Width};

/// Writes schemas of one plugin's types; named ones are gathered once and referred to.
#[derive(Debug)]
pub struct Schemas<'a> {
    prefix: &'a str,
    docs: &'a BTreeMap<String, String>,
    /// Under `components/schemas`.
    pub named: BTreeMap<String, Value>,
}

impl<'a> Schemas<'a> {
    /// Named types get `prefix` in front, so that two plugins' `item` stay two.
    #[must_use]
    pub fn new(prefix: &'a str, docs: &'a BTreeMap<String, String>) -> Self {
        Self { prefix, docs, named: BTreeMap::new() }
    }

    /// The schema of `shape`; `is_input` decides whether an optional field may be absent.
    pub fn schema(&mut self, shape: &Shape) -> Value {
        match shape {
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Integer { width, min, max, money } => {
                let format = if matches!(width, Width::S64 | Width::U64 | Width::U32) { "int64" } else { "int32" };
                let mut schema = json!({"type": "integer", "format": format, "minimum": min, "maximum": max});
                if *money {
                    describe(&mut schema, "Minor units of its currency: cents.");
                }
                schema
            }
            Shape::Float { single } => json!({"type": "number", "format": if *single { "float" } else { "double" }}),
            Shape::Char => json!({"type": "string", "minLength": 1, "maxLength": 1}),
            Shape::Text { format, length_min, length_max } => text(*format, *length_min, *length_max),
            Shape::List { item, items_min, items_max } => {
                json!({"type": "array", "items": self.schema(item), "minItems": items_min, "maxItems": items_max})
            }
            Shape::Option(inner) => json!({"anyOf": [self.schema(inner), {"type": "null"}]}),
            Shape::Tuple(shapes) => {
                let items: Vec<Value> = shapes.iter().map(|shape| self.schema(shape)).collect();
                let count = items.len();
                json!({"type": "array", "prefixItems": items, "minItems": count, "maxItems": count})
            }
            Shape::Record(record) => self.refer(&record.name, |schemas| schemas.record(record)),
            Shape::Enum(set) => self.refer(&set.name, |_| json!({"type": "string", "enum": members(set)})),
            Shape::Flags(set) => json!({
                "type": "array", "items": {"type": "string", "enum": members(set)}, "uniqueItems": true,
                "maxItems": set.members.len()
            }),
            Shape::Variant(variant) => self.refer(&variant.name, |schemas| schemas.variant(variant)),
            Shape::Caller => Value::Null,
        }
    }

    fn record(&mut self, record: &Record) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in &record.members {
            let mut schema = self.schema(&field.of);
            if let Some(doc) = self.docs.get(&format!("{}.{}", record.name, field.wit)) {
                describe(&mut schema, doc);
            }
            if !field.of.is_optional() {
                required.push(field.json.as_str());
            }
            properties.insert(field.json.clone(), schema);
        }
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    fn variant(&mut self, variant: &Named<Option<Shape>>) -> Value {
        let cases: Vec<Value> = variant
            .members
            .iter()
            .map(|case| {
                let mut properties = Map::from_iter([("tag".to_owned(), json!({"const": case.json}))]);
                let mut required = vec!["tag"];
                if let Some(shape) = &case.of {
                    properties.insert("value".to_owned(), self.schema(shape));
                    required.push("value");
                }
                json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
            })
            .collect();
        json!({"oneOf": cases})
    }

    fn refer(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        let key = format!("{}.{name}", self.prefix);
        if !self.named.contains_key(&key) {
            self.named.insert(key.clone(), Value::Null);
            let mut schema = make(self);
            if let Some(doc) = self.docs.get(name) {
                describe(&mut schema, doc);
            }
            self.named.insert(key.clone(), schema);
        }
        json!({"$ref": format!("#/components/schemas/{key}")})
    }
}

fn members(set: &Named<()>) -> Vec<&str> {
    set.members.iter().map(|member| member.json.as_str()).collect()
}

fn text(format: Format, length_min: u32, length_max: u32) -> Value {
    match format {
        Format::Plain => json!({
            "type": "string", "minLength": length_min, "maxLength": length_max, "pattern": HARMLESS
        }),
        Format::Uuid => json!({"type": "string", "format": "uuid", "minLength": 36, "maxLength": 36}),
        Format::Email => json!({"type": "string", "format": "email", "maxLength": length_max}),
        Format::Timestamp => json!({"type": "string", "format": "date-time", "maxLength": length_max}),
        Format::Date => json!({"type": "string", "format": "date", "minLength": 10, "maxLength": 10}),
        Format::Cursor => json!({
            "type": "string", "maxLength": length_max, "description": "Opaque; as given in `next` of the page before."
        }),
    }
}

/// No control characters but tab and line ends, no bidirectional overrides.
const HARMLESS: &str =
    "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]*$";

/// Adds a description; beside a `$ref` that is allowed since OpenAPI 3.1.
pub fn describe(schema: &mut Value, text: &str) {
    if let Value::Object(members) = schema {
        members.insert("description".to_owned(), text.into());
    }
}

/// A value that the schema allows, for the document's examples.
#[must_use]
pub fn example(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => true.into(),
        Shape::Integer { min, max, money, .. } => (if *money { 1_250 } else { 1 }).clamp(*min, *max).into(),
        Shape::Float { .. } => 1.5.into(),
        Shape::Char => "a".into(),
        Shape::Text { format, length_min, length_max } => match format {
            Format::Plain => plain(*length_min as usize, *length_max as usize).into(),
            Format::Uuid => "0192f0c1-2b7a-7c3e-9d0e-5a4b3c2d1e0f".into(),
            Format::Email => "ada@example.com".into(),
            Format::Timestamp => "2026-11-23T18:30:00.000000Z".into(),
            Format::Date => "2026-11-23".into(),
            Format::Cursor => "q83vEjRWeJCrze8SNFZ4kKvN7w".into(),
        },
        Shape::List { item, items_min, .. } => {
            std::iter::repeat_n(example(item), (*items_min).max(1) as usize).collect::<Vec<_>>().into()
        }
        Shape::Option(inner) => example(inner),
        Shape::Tuple(shapes) => shapes.iter().map(example).collect::<Vec<_>>().into(),
        Shape::Record(record) => {
            record.members.iter().map(|field| (field.json.clone(), example(&field.of))).collect::<Map<_, _>>().into()
        }
        Shape::Enum(set) => set.members.first().map_or(Value::Null, |case| case.json.clone().into()),
        Shape::Flags(set) => json!(set.members.first().map(|flag| &flag.json).into_iter().collect::<Vec<_>>()),
        Shape::Variant(variant) => match variant.members.first() {
            Some(case) => match &case.of {
                Some(shape) => json!({"tag": case.json, "value": example(shape)}),
                None => json!({"tag": case.json}),
            },
            None => Value::Null,
        },
        Shape::Caller => Value::Null,
    }
}

fn plain(length_min: usize, length_max: usize) -> String {
    let word = "text";
    let length = word.len().clamp(length_min, length_max);
    word.chars().cycle().take(length).collect()
}
