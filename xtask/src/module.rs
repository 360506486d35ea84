//! The finished Wasm module: what the host does not need is taken out of it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use walrus::Module;

/// What Envoy calls. It calls every callback that a module exports, and each call costs about a microsecond a request: one that
/// crept in would be paid by every user, so the list is exact in both directions.
const EXPORTS: [&str; 7] = [
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
    "proxy_on_log",
];

/// Reads what the compiler wrote and writes what is shipped, whole or not at all, and only where something changed.
pub(crate) fn finish(compiled: &Path, shipped: &Path) -> Result<()> {
    let original = fs::read(compiled).with_context(|| format!("could not read {}", compiled.display()))?;
    let finished = strip(&original)?;
    if fs::read(shipped).is_ok_and(|there| there == finished) {
        eprintln!("wasm: {} is up to date ({} KiB)", shipped.display(), finished.len() / 1024);
        return Ok(());
    }
    let partial = shipped.with_extension(format!("wasm.partial-{}", std::process::id()));
    fs::write(&partial, &finished).with_context(|| format!("could not write {}", partial.display()))?;
    fs::rename(&partial, shipped).with_context(|| format!("could not write {}", shipped.display()))?;
    eprintln!(
        "wasm: {} ({} KiB, from {} KiB)",
        shipped.display(),
        finished.len() / 1024,
        original.len() / 1024
    );
    Ok(())
}

/// Removes exports that the host does not call, what only they used, and the sections that only tools read.
fn strip(original: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::from_buffer(original).context("the compiler's output is no Wasm module")?;
    let surplus: Vec<_> = module
        .exports
        .iter()
        .filter(|export| !EXPORTS.contains(&export.name.as_str()))
        .map(walrus::Export::id)
        .collect();
    for id in surplus {
        module.exports.delete(id);
    }
    for name in EXPORTS {
        if !module.exports.iter().any(|export| export.name == name) {
            bail!("the module does not export {name}");
        }
    }
    module.producers.clear();
    let custom: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for id in custom {
        module.customs.delete(id);
    }
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}
