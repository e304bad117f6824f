//! `autarco_ingest._core`: the one place where bytes enter Rust and record batches leave it.
#![deny(unsafe_code)]

mod decode;
mod error;
mod fleet;
mod gateway;
mod inspect;

#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::decode::{decode, inverter_serials};
    #[pymodule_export]
    use crate::fleet::run_fleet;
    #[pymodule_export]
    use crate::gateway::{Batch, Gateway, Pending};
    #[pymodule_export]
    use crate::inspect::{JournalSegment, inspect_journal};

    /// Whether this build carries debug checks and no optimisation: benchmarks would lie.
    #[pymodule_export]
    const DEBUG_BUILD: bool = cfg!(debug_assertions);
}
