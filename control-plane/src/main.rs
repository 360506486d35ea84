//! `spillway`: see [`spillway::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    spillway::cli::main()
}
