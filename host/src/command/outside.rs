//! What stands in for services outside, in `dev` and in tests: for each granted origin with a file
//! `plugins/<id>/fakes/<handle>.toml`, a fake on loopback that the origin is routed to.

use std::{collections::BTreeMap, fs, io, net::SocketAddr, path::Path};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;

use super::start::Rings;
use crate::{
    capability::egress,
    error::{Fault, Setup},
    http::{
        Bounds,
        fake::{Fake, Shared, Spec},
        serve,
    },
    id::PluginId,
    plugin::{approval::Admission, manifest::Manifest},
};

/// Enough for a fake.
const BOUNDS: Bounds = Bounds {
    body_bytes_max: 1 << 20,
    body_ms: 10_000,
    header_ms: 10_000,
    idle_ms: 60_000,
    connections_max: 256,
    connections_per_source_max: 256,
    drain_ms: 0,
};

/// One granted origin, and what it leads to.
#[derive(Clone, Debug)]
pub struct Outside {
    pub plugin: PluginId,
    /// The name of `[http.<name>]`.
    pub handle: String,
    pub origin: String,
    /// Where the fake is, and shows what it was asked.
    pub address: SocketAddr,
    pub fake: Fake,
}

/// Starts the fakes of these plugins, whose folders are below `plugins`. They end with the process.
pub async fn start(plugins: &Path, admitted: &[Admission], rings: &Rings) -> Setup<Vec<Outside>> {
    let mut all = Vec::new();
    for manifest in admitted.iter().map(|admission| &admission.package().manifest) {
        for (handle, granted) in &manifest.hosts {
            let path = plugins.join(manifest.id.as_str()).join("fakes").join(format!("{handle}.toml"));
            let place = path.display().to_string();
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Fault::new(place, error.to_string())),
            };
            let spec = Spec::parse(&place, &text)?;
            let shared = share(&spec, manifest, granted, rings);
            all.push(listen(manifest.id.clone(), handle, granted, Fake::new(spec, shared)).await?);
        }
    }
    Ok(all)
}

/// The routes that lead there, for `egress.routes`.
pub fn routes(all: &[Outside]) -> BTreeMap<String, String> {
    all.iter().map(|one| (one.origin.clone(), format!("http://{}", one.address))).collect()
}

fn share(spec: &Spec, manifest: &Manifest, granted: &egress::Spec, rings: &Rings) -> Shared {
    let ring = |name: &str| rings.of_plugin(&manifest.id, name).cloned();
    let injected = granted.inject.as_ref().and_then(|inject| {
        let value = format!("{}{}", inject.prefix, ring(&inject.secret)?.current.text().expose_secret());
        Some((inject.header.clone(), SecretString::from(value)))
    });
    Shared { injected, webhook: spec.webhook.as_ref().and_then(|webhook| ring(&webhook.secret)) }
}

async fn listen(plugin: PluginId, handle: &str, granted: &egress::Spec, fake: Fake) -> Setup<Outside> {
    let fault = || Fault::at::<io::Error>("a fake on loopback");
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(fault())?;
    let address = listener.local_addr().map_err(fault())?;
    tokio::spawn(serve::serve(listener, serve::routed(fake.router()), BOUNDS, std::future::pending()));
    Ok(Outside { plugin, handle: handle.to_owned(), origin: granted.origin.clone(), address, fake })
}
