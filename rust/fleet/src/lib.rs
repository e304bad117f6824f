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

use std::ffi::OsString;
use std::fmt;
use std::io;

use options::{Asked, Options};

/// Why there is no report.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense; the sentence says why.
    Arguments(String),
    /// The machine does not let a fleet live.
    System(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(sentence) => formatter.write_str(sentence),
            Self::System(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for Failure {}

/// Lets a fleet live as the arguments say, those of `autarco-fleet` without its name, and returns
/// its report as one line of JSON, or the help that was asked for.
pub fn run<I>(arguments: I) -> Result<String, Failure>
where
    I: IntoIterator<IntoIter: 'static, Item: Into<OsString>>,
{
    match Options::from_arguments(arguments) {
        Ok(Asked::Help) => Ok(options::HELP.trim_end().to_owned()),
        Ok(Asked::Run(options)) => engine::run(&options)
            .map(|report| report.to_string())
            .map_err(Failure::System),
        Err(error) => Err(Failure::Arguments(error.to_string())),
    }
}
