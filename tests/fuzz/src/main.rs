//! The fuzzer: one program for all targets, told by the environment which one it is for.

#![no_main]
#![allow(clippy::panic, reason = "without a target there is nothing to do")]
#![allow(unsafe_code, reason = "libFuzzer calls a function of a fixed name")]

use std::sync::LazyLock;

use spillway_fuzz::Target;

/// `cargo xtask fuzz` sets it.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("SPILLWAY_FUZZ_TARGET").unwrap_or_default();
    match spillway_fuzz::target(&name) {
        Some(target) => target,
        None => panic!("SPILLWAY_FUZZ_TARGET is {name:?}, which is no target"),
    }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
