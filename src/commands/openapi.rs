//! `tureen openapi`

use crate::exit::Failure;
use crate::router;

/// Prints the document.
///
/// # Errors
/// 70 when it cannot be written as JSON.
pub fn run() -> Result<(), Failure> {
    println!("{}", router::document().to_pretty_json().map_err(Failure::engine)?);
    Ok(())
}
