//! The macro that makes a crate a plugin.

/// Bindings for the world `plugin` of the crate's `wit/`, in a module `bindings`, and the exports that reach `$component`.
///
/// The types of `dinehub:platform` are this crate's. A plugin without a database handle says so, for the bindings refuse
/// to be given types that its world does not use: `plugin!(Component, without handles)`.
///
/// On the host target the bindings exist without the exports, so that pure parts that use generated types can be tested
/// there; calling an import there is unreachable.
#[macro_export]
macro_rules! plugin {
    ($component:ident) => {
        $crate::plugin!(@ $component {
            "dinehub:platform/types@1.0.0": dinehub_sdk::types,
            "dinehub:platform/database@1.0.0": dinehub_sdk::database,
        });
    };
    ($component:ident, without handles) => {
        $crate::plugin!(@ $component { "dinehub:platform/types@1.0.0": dinehub_sdk::types });
    };
    (@ $component:ident $shared:tt) => {
        /// Generated from `wit/`.
        #[allow(clippy::all, unsafe_code, missing_docs, unreachable_pub, reason = "generated: export glue and types")]
        mod bindings {
            dinehub_sdk::wit_bindgen::generate!({
                path: "wit",
                world: "plugin",
                generate_all,
                runtime_path: "dinehub_sdk::wit_bindgen::rt",
                with: $shared,
            });
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports' glue")]
        const _: () = {
            bindings::export!($component with_types_in bindings);
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: $component = $component;
    };
}
