//! A plugin that gives back what it got: what went in as JSON must come out as the same JSON, for each type.

use dinehub_sdk::types::{Caller, Date, Email, MoneyCents, Problem, Timestamp, Uuid};

use crate::bindings::exports::dinehub::echo::api::{Colour, Everything, Guest, Point, Query, Rights, Shape};

dinehub_sdk::plugin!(Component, without handles);

struct Component;

/// One function a type, all alike.
macro_rules! echo {
    ($($name:ident: $kind:ty;)*) => {
        $(fn $name(_caller: Caller, body: $kind) -> Result<$kind, Problem> {
            Ok(body)
        })*
    };
}

impl Guest for Component {
    echo! {
        bool_back: bool;
        u8_back: u8;
        u16_back: u16;
        u32_back: u32;
        u64_back: u64;
        s8_back: i8;
        s16_back: i16;
        s32_back: i32;
        s64_back: i64;
        f32_back: f32;
        f64_back: f64;
        char_back: char;
        string_back: String;
        list_back: Vec<i32>;
        lists_back: Vec<Vec<String>>;
        option_back: Option<String>;
        tuple_back: (i32, String, bool);
        record_back: Point;
        enum_back: Colour;
        variant_back: Shape;
        flags_back: Rights;
        uuid_back: Uuid;
        email_back: Email;
        timestamp_back: Timestamp;
        date_back: Date;
        money_back: MoneyCents;
        everything_back: Everything;
    }

    fn query_back(
        _caller: Caller,
        id: Uuid,
        flag: Option<bool>,
        count: Option<i32>,
        ratio: Option<f64>,
        colour: Option<Colour>,
        text: Option<String>,
        at: Option<Timestamp>,
    ) -> Result<Query, Problem> {
        Ok(Query { id, flag, count, ratio, colour, text, at })
    }
}
