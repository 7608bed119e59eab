use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::Team;

fn counts(n: usize) -> Vec<AtomicUsize> {
    (0..n).map(|_| AtomicUsize::new(0)).collect()
}

#[test]
fn every_unit_of_every_phase_runs_once() {
    let phases = if cfg!(miri) { 3 } else { 500 };
    for threads in [1, 2, 3, 8] {
        let team = Team::new(threads).unwrap();
        assert_eq!(team.threads(), threads);
        for phase in 0..phases {
            let counts = counts(phase % 41);
            // Not atomic together: what a phase wrote must be seen when `run` returns.
            team.run(counts.len(), &|unit| counts[unit].store(counts[unit].load(Relaxed) + 1, Relaxed));
            assert!(counts.iter().all(|c| c.load(Relaxed) == 1), "{threads} threads, phase {phase}");
        }
    }
}

#[test]
fn zero_threads_are_all_cores() {
    let team = Team::new(0).unwrap();
    assert_eq!(team.threads(), std::thread::available_parallelism().map_or(1, usize::from));
}

#[test]
fn a_panic_reaches_the_caller_after_the_other_units_and_the_team_goes_on() {
    for threads in [1, 3] {
        let team = Team::new(threads).unwrap();
        for bad in [0, 7, 19] {
            let counts = counts(20);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                team.run(20, &|unit| {
                    assert_ne!(unit, bad, "meant to fail");
                    counts[unit].fetch_add(1, Relaxed);
                });
            }));
            assert!(outcome.is_err());
            for (unit, count) in counts.iter().enumerate() {
                assert_eq!(count.load(Relaxed), usize::from(unit != bad), "unit {unit} on {threads} threads");
            }
            team.run(20, &|unit| _ = counts[unit].fetch_add(1, Relaxed));
            assert_eq!(counts[bad].load(Relaxed), 1);
        }
    }
}

#[test]
fn callers_take_turns() {
    let (team, total) = (Team::new(3).unwrap(), AtomicUsize::new(0));
    let rounds = if cfg!(miri) { 3 } else { 200 };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..rounds).for_each(|_| team.run(9, &|_| _ = total.fetch_add(1, Relaxed))));
        }
    });
    assert_eq!(total.into_inner(), 4 * rounds * 9);
}

#[test]
fn a_team_that_sleeps_wakes() {
    let team = Team::new(3).unwrap();
    for _ in 0..5 {
        // Longer than its patience, so its threads have parked: both ways of waiting are met.
        std::thread::sleep(std::time::Duration::from_millis(2));
        let counts = counts(64);
        team.run(64, &|unit| _ = counts[unit].fetch_add(1, Relaxed));
        assert!(counts.iter().all(|c| c.load(Relaxed) == 1));
    }
}

#[test]
fn dropping_ends_the_threads_asleep_or_not() {
    for i in 0..if cfg!(miri) { 2 } else { 40 } {
        let (team, alive) = (Team::new(4).unwrap(), AtomicUsize::new(0));
        (0..i % 3).for_each(|_| team.run(8, &|_| _ = alive.fetch_add(1, Relaxed)));
        drop(team);
        assert_eq!(alive.into_inner(), i % 3 * 8);
    }
}
