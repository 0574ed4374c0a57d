//! The shape of a value at the HTTP boundary: a WIT type, its format and its bounds, flattened for reading and writing.
//!
//! WIT says `s32`, `record`, `option`; the platform's aliases say `uuid`, `email`, `timestamp` (aliases and the package
//! that owns them survive in the component's binary); the manifest's constraints say `length_max`. A [`Shape`] is all
//! three at once: [`super::value`] validates by it, OpenAPI is written from it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use wit_parser::{Resolve, Type, TypeDefKind, TypeId, TypeOwner};

use super::manifest::Constraint;
use crate::error::{Fault, Setup};

/// JSON numbers are exact up to here (RFC 8259 §6): 2⁵³ − 1.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;
/// How long a string may be when nothing else is said, in characters.
const LENGTH_MAX: u32 = 4_096;
/// How many items a list may have when nothing else is said.
const ITEMS_MAX: u32 = 1_000;

/// One type as the boundary sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Bool,
    Integer {
        width: Width,
        min: i64,
        max: i64,
        money: bool,
    },
    Float {
        single: bool,
    },
    Char,
    Text {
        format: Format,
        length_min: u32,
        length_max: u32,
    },
    List {
        item: Arc<Shape>,
        items_min: u32,
        items_max: u32,
    },
    Option(Arc<Shape>),
    Tuple(Arc<[Shape]>),
    Record(Arc<Record>),
    Enum(Arc<Named<()>>),
    Variant(Arc<Named<Option<Shape>>>),
    Flags(Arc<Named<()>>),
    /// The platform's `caller`: filled by the host, never read from a request.
    Caller,
}

/// The WIT integer a value is handed over as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
}

/// What a string holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Plain,
    Uuid,
    Email,
    Timestamp,
    Date,
    /// Opaque to clients: sealed on the way out, opened on the way in.
    Cursor,
}

/// Something with a name in the WIT and named members.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T> {
    /// In kebab case.
    pub name: String,
    pub members: Vec<Member<T>>,
}

/// A case, a flag or a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<T> {
    /// As the guest knows it: kebab case.
    pub wit: String,
    /// As the client knows it: snake case.
    pub json: String,
    pub of: T,
}

/// A record: named fields, each with a shape.
pub type Record = Named<Shape>;

impl<T> Named<T> {
    /// The member a client calls `json`.
    #[must_use]
    pub fn by_json(&self, json: &str) -> Option<&Member<T>> {
        self.members.iter().find(|member| member.json == json)
    }

    /// The member the guest calls `wit`.
    #[must_use]
    pub fn by_wit(&self, wit: &str) -> Option<&Member<T>> {
        self.members.iter().find(|member| member.wit == wit)
    }
}

impl Shape {
    /// Whether a value may be left out.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        matches!(self, Self::Option(_))
    }
}

/// Builds shapes of one component's types under one manifest's constraints, and notes which constraints were used.
pub struct Shaper<'a> {
    resolve: &'a Resolve,
    constraints: &'a BTreeMap<String, Constraint>,
    used: Vec<String>,
}

impl<'a> Shaper<'a> {
    /// For the types of `resolve`.
    #[must_use]
    pub fn new(resolve: &'a Resolve, constraints: &'a BTreeMap<String, Constraint>) -> Self {
        Self { resolve, constraints, used: Vec::new() }
    }

    /// The shape of `ty` standing at `owner.member`, which is where a constraint may name it.
    pub fn shape(&mut self, ty: &Type, owner: &str, member: &str) -> Setup<Shape> {
        let key = format!("{owner}.{member}");
        let constraint = self.constraints.get(&key);
        if constraint.is_some() {
            self.used.push(key.clone());
        }
        let bare = self.bare(ty, &key)?;
        bare.bounded(constraint.unwrap_or(&Constraint::default())).map_err(|what| {
            Fault::new(format!("[constraint] {key:?}"), what).fix("bounds must fit the WIT type and not cross")
        })
    }

    /// A constraint that names nothing protects nothing.
    pub fn ensure_all_used(&self) -> Setup<()> {
        match self.constraints.keys().find(|key| !self.used.contains(key)) {
            None => Ok(()),
            Some(key) => Err(Fault::new(format!("[constraint] {key:?}"), "names no field or parameter of `api`")
                .fix(r#"use kebab case as in the WIT: "record.field" or "function.parameter""#)),
        }
    }

    fn bare(&mut self, ty: &Type, at: &str) -> Setup<Shape> {
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::S8 => integer(Width::S8, i8::MIN.into(), i8::MAX.into()),
            Type::U8 => integer(Width::U8, 0, u8::MAX.into()),
            Type::S16 => integer(Width::S16, i16::MIN.into(), i16::MAX.into()),
            Type::U16 => integer(Width::U16, 0, u16::MAX.into()),
            Type::S32 => integer(Width::S32, i32::MIN.into(), i32::MAX.into()),
            Type::U32 => integer(Width::U32, 0, u32::MAX.into()),
            Type::S64 => integer(Width::S64, -INTEGER_MAX, INTEGER_MAX),
            Type::U64 => integer(Width::U64, 0, INTEGER_MAX),
            Type::F32 => Shape::Float { single: true },
            Type::F64 => Shape::Float { single: false },
            Type::Char => Shape::Char,
            Type::String => text(Format::Plain),
            Type::ErrorContext => return Err(refused(at, "error-context")),
            Type::Id(id) => self.defined(*id, at)?,
        })
    }

    fn defined(&mut self, id: TypeId, at: &str) -> Setup<Shape> {
        if let Some(shape) = self.platform(id) {
            return Ok(shape);
        }
        let definition = self.definition(id, at)?;
        let name = definition.name.clone().unwrap_or_default();
        Ok(match &definition.kind {
            TypeDefKind::Type(inner) => self.bare(inner, at)?,
            TypeDefKind::Record(record) => {
                let mut members = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    members.push(member(&field.name, self.shape(&field.ty, &name, &field.name)?));
                }
                Shape::Record(Arc::new(Named { name, members }))
            }
            TypeDefKind::Variant(variant) => {
                let mut members = Vec::with_capacity(variant.cases.len());
                for case in &variant.cases {
                    let of = case.ty.as_ref().map(|ty| self.shape(ty, &name, &case.name)).transpose()?;
                    members.push(member(&case.name, of));
                }
                Shape::Variant(Arc::new(Named { name, members }))
            }
            TypeDefKind::Enum(set) => Shape::Enum(names(name, set.cases.iter().map(|case| &case.name))),
            TypeDefKind::Flags(set) if set.flags.len() <= 32 => {
                Shape::Flags(names(name, set.flags.iter().map(|flag| &flag.name)))
            }
            TypeDefKind::Option(inner) => match self.bare(inner, at)? {
                Shape::Option(_) => {
                    return Err(refused(at, "option<option<…>>: absent and null could not be told apart"));
                }
                inner => Shape::Option(Arc::new(inner)),
            },
            TypeDefKind::List(Type::U8) => return Err(refused(at, "list<u8>: bytes do not travel in JSON")),
            TypeDefKind::List(inner) => {
                Shape::List { item: Arc::new(self.bare(inner, at)?), items_min: 0, items_max: ITEMS_MAX }
            }
            TypeDefKind::Tuple(tuple) => {
                let shapes: Setup<Vec<Shape>> = tuple.types.iter().map(|ty| self.bare(ty, at)).collect();
                Shape::Tuple(shapes?.into())
            }
            other => return Err(refused(at, other.as_str())),
        })
    }

    /// The aliases of `dinehub:platform/types` that mean more than their structure.
    fn platform(&self, id: TypeId) -> Option<Shape> {
        let definition = self.resolve.types.get(id)?;
        let TypeOwner::Interface(interface) = definition.owner else { return None };
        let package = self.resolve.interfaces.get(interface)?.package?;
        let package = &self.resolve.packages.get(package)?.name;
        if package.namespace != "dinehub" || package.name != "platform" {
            return None;
        }
        match definition.name.as_deref()? {
            "uuid" => Some(text(Format::Uuid)),
            "email" => Some(text(Format::Email)),
            "timestamp" => Some(text(Format::Timestamp)),
            "date" => Some(text(Format::Date)),
            "cursor" => Some(text(Format::Cursor)),
            "money-cents" => Some(Shape::Integer { width: Width::S64, min: 0, max: INTEGER_MAX, money: true }),
            "caller" => Some(Shape::Caller),
            _ => None,
        }
    }

    fn definition(&self, id: TypeId, at: &str) -> Setup<&'a wit_parser::TypeDef> {
        self.resolve.types.get(id).ok_or_else(|| refused(at, "an unresolved type"))
    }
}

impl Shape {
    /// Narrows the type's own bounds; a bound that does not apply or would widen them is a mistake.
    fn bounded(self, by: &Constraint) -> Result<Self, String> {
        Ok(match self {
            Self::Option(inner) => Self::Option(Arc::new(Arc::unwrap_or_clone(inner).bounded(by)?)),
            Self::Integer { width, min, max, money } => {
                only(by, &["min", "max"])?;
                let (low, high) = (by.min.unwrap_or(min), by.max.unwrap_or(max));
                if low < min || high > max || low > high {
                    return Err(format!("{low}..={high} does not fit {min}..={max}"));
                }
                Self::Integer { width, min: low, max: high, money }
            }
            Self::Text { format, length_min, length_max } => {
                only(by, &["length_min", "length_max"])?;
                if format != Format::Plain && *by != Constraint::default() {
                    return Err("a formatted string has the length its format gives it".to_owned());
                }
                let (low, high) = (by.length_min.unwrap_or(length_min), by.length_max.unwrap_or(length_max));
                if low > high {
                    return Err(format!("{low}..={high} is empty"));
                }
                Self::Text { format, length_min: low, length_max: high }
            }
            Self::List { item, items_min, items_max } => {
                only(by, &["items_min", "items_max"])?;
                let (low, high) = (by.items_min.unwrap_or(items_min), by.items_max.unwrap_or(items_max));
                if low > high {
                    return Err(format!("{low}..={high} is empty"));
                }
                Self::List { item, items_min: low, items_max: high }
            }
            other => {
                only(by, &[])?;
                other
            }
        })
    }
}

/// Refuses a bound of another kind: a `length_max` on a number checks nothing.
fn only(by: &Constraint, allowed: &[&str]) -> Result<(), String> {
    let set = [
        ("min", by.min.is_some()),
        ("max", by.max.is_some()),
        ("length_min", by.length_min.is_some()),
        ("length_max", by.length_max.is_some()),
        ("items_min", by.items_min.is_some()),
        ("items_max", by.items_max.is_some()),
    ];
    match set.iter().find(|(name, is_set)| *is_set && !allowed.contains(name)) {
        None => Ok(()),
        Some((name, _)) => Err(format!("`{name}` does not apply to this type")),
    }
}

fn integer(width: Width, min: i64, max: i64) -> Shape {
    Shape::Integer { width, min, max, money: false }
}

fn text(format: Format) -> Shape {
    let length_max = match format {
        Format::Plain => LENGTH_MAX,
        Format::Uuid => 36,
        Format::Email => 254,
        Format::Timestamp => 40,
        Format::Date => 10,
        Format::Cursor => 1_024,
    };
    Shape::Text { format, length_min: 0, length_max }
}

fn member<T>(wit: &str, of: T) -> Member<T> {
    Member { wit: wit.to_owned(), json: snake(wit), of }
}

fn names<'n>(name: String, all: impl Iterator<Item = &'n String>) -> Arc<Named<()>> {
    Arc::new(Named { name, members: all.map(|name| member(name, ())).collect() })
}

/// `kebab-case` as clients see it: `snake_case`.
#[must_use]
pub fn snake(kebab: &str) -> String {
    kebab.replace('-', "_")
}

fn refused(at: &str, what: impl fmt::Display) -> Fault {
    Fault::new(format!("wit: {at}"), format!("{what} cannot cross the HTTP boundary"))
        .fix("use bool, numbers, string, the platform's formats, list, option, tuple, record, enum, variant or flags")
}
