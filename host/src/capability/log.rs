//! The log handle. A plugin says level, message and fields; the host adds time, plugin, version and request, bounds the
//! size, and writes JSON, so that no line can be forged inside another.

use wasmtime::component::{Linker, Val};

use super::{gate::Function, grants::Grants, limit::Bound};
use crate::{
    error::{Fault, Setup},
    id::{PluginId, RequestId},
};

/// The interface as the component must name it.
pub const INTERFACE: &str = "dinehub:platform/log@1.0.0";
/// Longer messages and values are cut here, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;
/// Further fields are left out.
const FIELDS_MAX: usize = 16;

/// Links `dinehub:platform/log`.
pub fn link(linker: &mut Linker<Grants>) -> Setup<()> {
    let fault = |error: wasmtime::Error| Fault::new(INTERFACE, format!("{error:#}"));
    let mut instance = linker.instance(INTERFACE).map_err(fault)?;
    Function::new(INTERFACE, "write").link(&mut instance, |grants, arguments| {
        if let [Val::Enum(level), Val::String(message), Val::List(fields)] = arguments {
            if grants.meter_mut().log_line() {
                write(grants, level, message, fields);
            } else if grants.meter().is_first_too_many() {
                grants.limited(Bound::LogLines);
            }
        }
        Box::pin(async { Ok(None) })
    })
}

fn write(grants: &mut Grants, level: &str, message: &str, fields: &[Val]) {
    let fields: serde_json::Map<String, serde_json::Value> =
        fields.iter().take(FIELDS_MAX).filter_map(field).map(|(key, value)| (key, value.into())).collect();
    let fields = serde_json::Value::Object(fields);
    line((grants.plugin(), grants.tree().request), level, &fields, message);
    if matches!(level, "warn" | "error") {
        grants.note_said(cut(&format!("{} {fields}", cut(message))).to_owned());
    }
}

/// One line of a plugin's, in one of its requests.
pub(super) fn line((plugin, request): (&PluginId, RequestId), level: &str, fields: &serde_json::Value, message: &str) {
    let message = cut(message);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(target: "plugin", %plugin, request_id = %request, %fields, "{message}")
        };
    }
    match level {
        "debug" => line!(debug),
        "warn" => line!(warn),
        "error" => line!(error),
        _ => line!(info),
    }
}

fn field(value: &Val) -> Option<(String, String)> {
    let Val::Record(members) = value else { return None };
    match members.as_slice() {
        [(_, Val::String(key)), (_, Val::String(value))] => Some((cut(key).to_owned(), cut(value).to_owned())),
        _ => None,
    }
}

/// The longest prefix of whole characters that fits.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}
