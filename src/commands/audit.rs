//! `tureen audit verify`

use crate::audit::{Keys, Report, Scope, verify};
use crate::cli::{Audit, AuditVerify};
use crate::config::Config;
use crate::exit::Failure;

/// Verifies the log, or makes an answer again.
///
/// # Errors
/// 65 when the log was changed or the answer is another one; 64 and 78 for what cannot be used.
pub fn run(config: &Config, command: Audit) -> Result<(), Failure> {
    match command {
        Audit::Verify(args) => check(config, &args),
        Audit::Replay(args) => super::replay::run(config, args),
    }
}

fn check(config: &Config, args: &AuditVerify) -> Result<(), Failure> {
    let scope = Scope { from: args.from_segment, checkpoint: args.checkpoint.as_deref() };
    let report = read(config, scope, |_, _| {})?;
    let Report { records, segments, torn, healed, .. } = report;
    println!("{records} records in {segments} segments: nothing was edited, removed, moved or cut");
    if healed > 0 {
        println!("{healed} times a start found the end of the log unfinished after a crash, and took it out");
    }
    if torn > 0 {
        println!("{torn} bytes behind the last record are none: a crash, or one that is being written now");
    }
    Ok(())
}

/// Reads the whole log, and fails when it is not as it was written.
pub(super) fn read(config: &Config, scope: Scope<'_>, visit: impl FnMut(&[u8], bool)) -> Result<Report, Failure> {
    let dir = config.audit.dir.as_ref();
    let dir = dir.ok_or_else(|| Failure::Config("[audit] dir is empty: there is no log".into()))?;
    let keys = Keys::open(&config.audit).map_err(Failure::config)?;
    let report = verify(dir, &keys, scope, visit).map_err(|e| Failure::Data(e.to_string()))?;
    if report.problems.is_empty() {
        return Ok(report);
    }
    let list = report.problems.join("\n  ");
    let more = if report.unlisted > 0 { format!("\n  and {} more", report.unlisted) } else { String::new() };
    Err(Failure::Data(format!("the audit log is not as it was written:\n  {list}{more}")))
}
