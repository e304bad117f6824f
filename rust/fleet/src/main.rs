//! The fleet as a program of its own; see the library.
#![forbid(unsafe_code)]

use std::env;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use autarco_fleet::Failure;

fn main() -> ExitCode {
    match autarco_fleet::run(env::args_os().skip(1)) {
        Ok(report) => match writeln!(io::stdout(), "{report}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, 1),
        },
        Err(failure @ Failure::Arguments(_)) => failed(&failure, 2),
        Err(failure @ Failure::System(_)) => failed(&failure, 1),
    }
}

fn failed(error: &dyn Display, code: u8) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    let _written = writeln!(io::stderr(), "autarco-fleet: {error}");
    ExitCode::from(code)
}
