//! The token that a server asks for.

use std::path::Path;

use anyhow::{Context as _, bail};
use http::HeaderValue;

/// The `Authorization` header for the first token in a file. The file may be the server's own, where a token stands behind its name.
pub(super) fn read(path: &Path) -> anyhow::Result<HeaderValue> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(token) = line.and_then(|line| line.split_whitespace().last()) else {
        bail!("--token-file {}: there is no token in it", path.display());
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .with_context(|| format!("--token-file {}", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}
