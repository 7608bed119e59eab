//! The processor time of this process: what a run cost, whatever else the machine did.

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

/// Seconds of processor time that all threads of the process have used so far; 0 on systems that do not tell.
pub(crate) fn process_seconds() -> f64 {
    let Ok(own) = get_current_pid() else { return 0.0 };
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, ProcessRefreshKind::nothing().with_cpu());
    system.process(own).map_or(0.0, |process| process.accumulated_cpu_time() as f64 / 1000.0)
}
