//! How large a component's types may be, before anybody walks through them.
//!
//! A type may be made of others, so forty definitions that each hold the one before twice spell 2⁴⁰ fields; and a chain of
//! a million definitions is a recursion a million deep. Both fit in a few kilobytes of an artefact that nobody approved.

use wasmparser::{ComponentType, Parser, Payload};
use wit_parser::{Function, Resolve, Type, TypeDefKind, WorldItem};

use crate::error::{Fault, Setup};

/// Definitions of types in one component, over all its levels. Decoding recurses at most this deep.
const TYPES_MAX: u32 = 10_000;
/// A stack for that depth, in bytes.
const STACK_BYTES: usize = 256 << 20;
/// How deep a type may be.
const DEPTH_MAX: u32 = 32;
/// All functions' types of a component, spelled out, in bytes.
const SPELLED_BYTES_MAX: u64 = 2 << 20;

/// Refuses a component with more definitions than a plugin needs.
pub(super) fn ensure_few_types(place: &str, component: &[u8]) -> Setup<()> {
    let mut count = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let broken = |error: wasmparser::BinaryReaderError| Fault::new(place, format!("is no component: {error}"));
        if let Payload::ComponentTypeSection(section) = payload.map_err(broken)? {
            for ty in section {
                count = count.saturating_add(definitions(&ty.map_err(broken)?));
            }
        }
        if count > TYPES_MAX {
            return Err(Fault::new(place, format!("defines more than {TYPES_MAX} types")));
        }
    }
    Ok(())
}

/// One, and those inside it.
fn definitions(ty: &ComponentType<'_>) -> u32 {
    use wasmparser::{ComponentTypeDeclaration, InstanceTypeDeclaration};
    let of_component = |one: &ComponentTypeDeclaration<'_>| match one {
        ComponentTypeDeclaration::Type(ty) => definitions(ty),
        _ => 0,
    };
    let of_instance = |one: &InstanceTypeDeclaration<'_>| match one {
        InstanceTypeDeclaration::Type(ty) => definitions(ty),
        _ => 0,
    };
    let inner = match ty {
        ComponentType::Component(declarations) => declarations.iter().map(of_component).fold(0, u32::saturating_add),
        ComponentType::Instance(declarations) => declarations.iter().map(of_instance).fold(0, u32::saturating_add),
        _ => 0,
    };
    inner.saturating_add(1)
}

/// Runs `decode` with a stack that [`TYPES_MAX`] levels fit in; only the pages that are used cost memory.
pub(super) fn with_room<T: Send>(place: &str, decode: impl FnOnce() -> T + Send) -> Setup<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("decode".to_owned()).stack_size(STACK_BYTES);
        let decoding = thread.spawn_scoped(scope, decode).map_err(Fault::at(place))?;
        decoding.join().map_err(|_| Fault::new(place, "is no component: it broke its decoder"))
    })
}

/// Refuses types that are too deep, or too long once spelled out.
pub(super) fn ensure_short(place: &str, resolve: &Resolve) -> Setup<()> {
    let mut sizes: Vec<Size> = Vec::with_capacity(resolve.types.len());
    for (_, definition) in &resolve.types {
        let name = definition.name.as_deref().unwrap_or("…");
        let (inner, names) = parts(&definition.kind);
        let mut own = Size { depth: 0, bytes: names as u64 + 8 };
        for ty in inner {
            let Some(size) = size(ty, &sizes) else {
                // Definitions stand after those they are made of.
                return Err(Fault::new(place, format!("type `{name}` is made of itself")));
            };
            own.depth = own.depth.max(size.depth);
            own.bytes = own.bytes.saturating_add(size.bytes);
        }
        own.depth += 1;
        if own.depth > DEPTH_MAX {
            return Err(Fault::new(place, format!("type `{name}` is more than {DEPTH_MAX} levels deep")));
        }
        sizes.push(own);
    }
    let interfaces = resolve.interfaces.iter().flat_map(|(_, interface)| interface.functions.values());
    let worlds = resolve.worlds.iter().flat_map(|(_, world)| world.imports.values().chain(world.exports.values()));
    let loose = worlds.filter_map(|item| if let WorldItem::Function(one) = item { Some(one) } else { None });
    let mut total = 0_u64;
    for function in interfaces.chain(loose) {
        total = total.saturating_add(spelled(function, &sizes));
        if total > SPELLED_BYTES_MAX {
            let what = format!("its types up to function `{}`, spelled out", function.name);
            return Err(Fault::new(place, format!("{what}, have more than {SPELLED_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Size {
    depth: u32,
    bytes: u64,
}

fn size(ty: &Type, known: &[Size]) -> Option<Size> {
    match ty {
        Type::Id(id) => known.get(id.index()).copied(),
        _ => Some(Size { depth: 0, bytes: 8 }),
    }
}

fn spelled(function: &Function, sizes: &[Size]) -> u64 {
    let of = |ty: &Type| size(ty, sizes).map_or(u64::MAX, |size| size.bytes);
    let params = function.params.iter().map(|param| of(&param.ty).saturating_add(param.name.len() as u64));
    params.chain(function.result.iter().map(of)).fold(function.name.len() as u64, u64::saturating_add)
}

/// What a definition is made of, and how long the names in it are together.
fn parts(kind: &TypeDefKind) -> (Vec<&Type>, usize) {
    match kind {
        TypeDefKind::Record(record) => {
            let names = record.fields.iter().map(|field| field.name.len());
            (record.fields.iter().map(|field| &field.ty).collect(), names.sum())
        }
        TypeDefKind::Variant(variant) => {
            let names = variant.cases.iter().map(|case| case.name.len());
            (variant.cases.iter().filter_map(|case| case.ty.as_ref()).collect(), names.sum())
        }
        TypeDefKind::Enum(set) => (Vec::new(), set.cases.iter().map(|case| case.name.len()).sum()),
        TypeDefKind::Flags(set) => (Vec::new(), set.flags.iter().map(|flag| flag.name.len()).sum()),
        TypeDefKind::Tuple(tuple) => (tuple.types.iter().collect(), 0),
        TypeDefKind::Result(result) => (result.ok.iter().chain(&result.err).collect(), 0),
        TypeDefKind::Option(inner)
        | TypeDefKind::List(inner)
        | TypeDefKind::FixedLengthList(inner, _)
        | TypeDefKind::Type(inner) => (vec![inner], 0),
        TypeDefKind::Map(key, value) => (vec![key, value], 0),
        TypeDefKind::Future(inner) | TypeDefKind::Stream(inner) => (inner.iter().collect(), 0),
        TypeDefKind::Resource | TypeDefKind::Handle(_) | TypeDefKind::Unknown => (Vec::new(), 0),
    }
}
