//! A fleet of imaginary V5 sticks on one machine, to load a server and to know exactly what it owes.
//!
//! [`options`] → [`engine`], which carries bytes between sockets and the sticks of [`stick`];
//! [`day`] says what an inverter measures when, [`frames`] which bytes that is.
#![forbid(unsafe_code)]

mod acknowledged;
mod day;
mod engine;
mod frames;
mod link;
mod options;
mod pace;
mod report;
mod stick;

use std::io::{self, Write};
use std::process::ExitCode;

use options::{Asked, Options};

fn main() -> ExitCode {
    match Options::from_command_line() {
        Ok(Asked::Help) => {
            // Nobody is left to tell when the terminal is gone.
            let _written = io::stdout().write_all(options::HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Ok(Asked::Run(options)) => match engine::run(&options) {
            Ok(report) => match writeln!(io::stdout(), "{report}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error, 1),
            },
            Err(error) => failed(&error, 1),
        },
        Err(error) => failed(&error, 2),
    }
}

fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _written = writeln!(io::stderr(), "autarco-fleet: {error}");
    ExitCode::from(code)
}
