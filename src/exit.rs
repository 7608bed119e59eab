//! Why a command failed, and the exit code that says so to a script.

use std::process::ExitCode;

/// A failed command: one variant per exit code, each with a message that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or a value on it cannot be used (64, `EX_USAGE`).
    #[error("{0}")]
    Usage(String),
    /// The configuration, the base or the pool cannot be used (78, `EX_CONFIG`).
    #[error("{0}")]
    Config(String),
    /// Data is not what it was (65, `EX_DATAERR`).
    #[error("{0}")]
    Data(String),
    /// The engine failed (70, `EX_SOFTWARE`).
    #[error("{0}")]
    Engine(String),
}

impl Failure {
    /// Exit code in the manner of sysexits.h.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Data(_) => 65,
            Self::Engine(_) => 70,
            Self::Config(_) => 78,
        }
    }

    /// A problem with configuration, base or pool.
    pub fn config(error: impl std::fmt::Display) -> Self {
        Self::Config(error.to_string())
    }

    /// A problem with what was typed.
    pub fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// A problem inside the engine.
    pub fn engine(error: impl std::fmt::Display) -> Self {
        Self::Engine(error.to_string())
    }

    /// Prints the message and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("tureen: {self}");
        ExitCode::from(self.code())
    }
}
