//! Fuzz targets: each takes any bytes for one kind of input that comes from outside, and panics where something is not as it has to be.
//!
//! `cargo xtask fuzz TARGET --seconds N` runs one. What it finds goes into `seeds/TARGET/`, and from there into the tests: every
//! seed is run through its target by `cargo test`.

#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "that is how a target says that something is wrong")]

mod asking;
mod configuration;
#[cfg(feature = "documents")]
mod documents;
mod keys;
#[cfg(feature = "documents")]
mod metrics;

/// What is fuzzed.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("filter-configuration", configuration::filter_configuration),
    ("path-templates", keys::path_templates),
    ("header-values", keys::header_values),
    ("cookies", keys::cookies),
    ("query-strings", keys::query_strings),
    #[cfg(feature = "documents")]
    ("documents", documents::documents),
    #[cfg(feature = "documents")]
    ("metrics", metrics::metrics),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_seed_passes_its_target() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
        for (name, target) in TARGETS {
            let mut count = 0;
            for entry in fs::read_dir(seeds.join(name)).unwrap() {
                let path = entry.unwrap().path();
                eprintln!("{}", path.display());
                target(&fs::read(path).unwrap());
                count += 1;
            }
            assert!(count > 0, "{name} has no seeds");
        }
    }

    #[test]
    fn every_folder_of_seeds_has_a_target() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(target(&name).is_some() || ["documents", "metrics"].contains(&name.as_str()), "{name}");
        }
    }
}
