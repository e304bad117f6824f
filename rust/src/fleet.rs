//! The load fleet for operators, who have the package and no compiler.

use pyo3::prelude::*;

use crate::error::fleet_error;

/// Lets a fleet live as the arguments of `autarco-fleet` say and returns its report as JSON.
///
/// Lines such as "connected 20" go to the process's standard output, progress to standard error.
/// Raises ValueError for arguments that make no sense, OSError when the machine refuses.
#[pyfunction]
pub(crate) fn run_fleet(py: Python<'_>, arguments: Vec<String>) -> PyResult<String> {
    py.detach(|| autarco_fleet::run(arguments))
        .map_err(fleet_error)
}
