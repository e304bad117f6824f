//! Which Python exception does a Rust error become?

use autarco_fleet::Failure;
use autarco_gateway::GatewayError;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyValueError};

/// The operator's mistakes are `ValueError`, what the machine refuses is `OSError`.
pub(crate) fn gateway_error(error: GatewayError) -> PyErr {
    match error {
        GatewayError::Zone(_) | GatewayError::Privacy(_) | GatewayError::Tls(_) => {
            PyValueError::new_err(error.to_string())
        }
        GatewayError::Listen { .. } | GatewayError::Journal { .. } | GatewayError::Io(_) => {
            PyOSError::new_err(error.to_string())
        }
    }
}

/// Arguments that make no sense are `ValueError`, what the machine refuses is `OSError`.
pub(crate) fn fleet_error(failure: Failure) -> PyErr {
    match failure {
        Failure::Arguments(sentence) => PyValueError::new_err(sentence),
        Failure::System(error) => error.into(),
    }
}
