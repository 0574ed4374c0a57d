//! Documents for the guest `echo`: valid ones as clients may write them, and what each has wrong when one place is spoilt.

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

/// Text with everything that JSON, HTML or terminals might trip over, and that is allowed all the same.
fn text() -> impl Strategy<Value = String> {
    "[ -~äßéč€漢😀\u{2028}\n\t\r]{0,24}"
}

/// Finite doubles of every magnitude, whole ones and subnormals among them.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("JSON has no other", |number| number.is_finite()),
        any::<i32>().prop_map(f64::from),
        Just(f64::MIN_POSITIVE / 3.0),
        Just(-0.0),
    ]
}

fn point() -> impl Strategy<Value = Value> {
    (any::<i32>(), any::<i32>(), option::of(text())).prop_map(|(x, y, label)| json!({"x": x, "y": y, "label": label}))
}

fn colour() -> impl Strategy<Value = Value> {
    prop_oneof![Just("red"), Just("dark_green"), Just("blue")].prop_map(|colour| json!(colour))
}

fn shape() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"tag": "nothing"})),
        double().prop_map(|radius| json!({"tag": "circle", "value": radius})),
        point().prop_map(|point| json!({"tag": "corner", "value": point})),
        vec(point(), 0..3).prop_map(|points| json!({"tag": "path", "value": points})),
    ]
}

fn rights() -> impl Strategy<Value = Value> {
    proptest::sample::subsequence(vec!["read", "write", "share_on"], 0..=3).prop_map(|rights| json!(rights))
}

/// From the year 1 to the year 9999, in the form the host writes.
fn timestamp() -> impl Strategy<Value = String> {
    (-62_135_596_800_000_000i64..253_402_207_200_000_000).prop_map(|micros| {
        let at = jiff::Timestamp::from_microsecond(micros).unwrap();
        at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    })
}

const EXACT: i64 = (1 << 53) - 1;

/// The record `everything`, with every field there.
pub(super) fn everything() -> impl Strategy<Value = Value> {
    let numbers = (any::<bool>(), any::<u8>(), -EXACT..=EXACT, double(), 0..=EXACT);
    let parts = (vec(text(), 0..4), option::of(point()), any::<i32>(), text(), vec(colour(), 0..4));
    (numbers, parts, vec(shape(), 0..4), rights(), any::<u128>(), timestamp()).prop_map(
        |((yes, small, large, ratio, price_cents), (words, maybe, left, right, colours), shapes, rights, id, at)| {
            json!({
                "yes": yes, "small": small, "large": large, "ratio": ratio, "words": words, "maybe": maybe,
                "pair": [left, right], "colours": colours, "shapes": shapes, "rights": rights,
                "id": uuid::Uuid::from_u128(id).to_string(), "at": at, "price_cents": price_cents,
            })
        },
    )
}

/// What a field is replaced by (`None`: left out), and where the host must find it.
pub(super) type Fault = (&'static str, Option<Value>, &'static str);

/// Every way a single field can be wrong.
pub(super) fn faults() -> Vec<Fault> {
    let put = |field, value, pointer| (field, Some(value), pointer);
    let mut all = vec![
        put("small", json!(-1), "/small"),
        put("small", json!(256), "/small"),
        put("small", json!(1.5), "/small"),
        put("large", json!(EXACT + 1), "/large"),
        put("large", json!(-EXACT - 1), "/large"),
        put("large", json!(1e17), "/large"),
        put("words", json!(["fine", 7]), "/words/1"),
        put("words", json!(["nul \u{0}"]), "/words/0"),
        put("words", json!(["bell \u{7}", "fine"]), "/words/0"),
        put("words", json!(["turned \u{202e} round"]), "/words/0"),
        put("words", json!(["no character \u{fffe}"]), "/words/0"),
        put("words", json!(vec!["many"; 1_001]), "/words"),
        put("words", json!(["long".repeat(1_025)]), "/words/0"),
        put("maybe", json!({"x": 1}), "/maybe/y"),
        put("maybe", json!({"x": 1, "y": 2_147_483_648i64}), "/maybe/y"),
        put("maybe", json!({"x": 1, "y": 2, "z/~": 3}), "/maybe/z~1~0"),
        put("pair", json!([1]), "/pair"),
        put("pair", json!([1, "two", 3]), "/pair"),
        put("pair", json!(["one", "two"]), "/pair/0"),
        put("colours", json!(["red", "puce"]), "/colours/1"),
        put("colours", json!(["dark-green"]), "/colours/0"),
        put("shapes", json!([{"tag": "hexagon"}]), "/shapes/0/tag"),
        put("shapes", json!([{"value": 1.0}]), "/shapes/0/tag"),
        put("shapes", json!([{"tag": "circle"}]), "/shapes/0/value"),
        put("shapes", json!([{"tag": "nothing", "value": 1}]), "/shapes/0/value"),
        put("shapes", json!([{"tag": "circle", "value": 1.0, "more": 1}]), "/shapes/0/more"),
        put("shapes", json!([{"tag": "path", "value": [{"x": 0, "y": 0}, {"x": 0}]}]), "/shapes/0/value/1/y"),
        put("rights", json!(["read", "read"]), "/rights"),
        put("rights", json!(["rule"]), "/rights"),
        put("id", json!("0192f0c12b7a7c3e9d0e5a4b3c2d1e0f"), "/id"),
        put("at", json!("2026-02-30T00:00:00Z"), "/at"),
        put("at", json!("2026-02-03 00:00"), "/at"),
        put("unknown", json!(1), "/unknown"),
    ];
    for (field, pointer) in REQUIRED {
        // No field is of an object's type without a tag.
        all.extend([(field, None, pointer), put(field, json!(null), pointer), put(field, json!({}), pointer)]);
    }
    all
}

const REQUIRED: [(&str, &str); 12] = [
    ("yes", "/yes"),
    ("small", "/small"),
    ("large", "/large"),
    ("ratio", "/ratio"),
    ("words", "/words"),
    ("pair", "/pair"),
    ("colours", "/colours"),
    ("shapes", "/shapes"),
    ("rights", "/rights"),
    ("id", "/id"),
    ("at", "/at"),
    ("price_cents", "/price_cents"),
];

/// Any JSON document whatever.
pub(super) fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<i8>().prop_map(|value| json!(value)),
        double().prop_map(|value| json!(value)),
        any::<String>().prop_map(|value| json!(value)),
        "[a-z]".prop_map(|value| json!(value)),
        colour(),
        timestamp().prop_map(|value| json!(value)),
    ];
    let known = prop_oneof![Just("x"), Just("y"), Just("label"), Just("tag"), Just("value"), Just("id")];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((known.clone(), inner), 0..4)
                .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            shape(),
            point(),
        ]
    })
}
