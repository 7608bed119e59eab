//! `tureen simulate`: how soon choices tell a preference.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tureen_soup::learn::Taste;

use crate::cli::Simulate;
use crate::config::Config;
use crate::exit::Failure;

/// After how many choices the error is told.
const TOLD: [usize; 5] = [0, 3, 10, 30, 100];

/// Answers' gains under each policy, as standard deviation in nats: what policies are worth that are trained to move about
/// this far from their base.
const GAIN: f64 = 8.0;

/// Questions to choose the best one from.
const QUESTIONS: usize = 64;

/// Makes people with known weights, asks them questions and prints how far what was learned is from the truth.
///
/// # Errors
/// 64 when there is nobody or nothing to learn.
pub fn run(config: &Config, args: &Simulate) -> Result<(), Failure> {
    if args.users == 0 || !(2..=64).contains(&args.policies) {
        return Err(Failure::Usage("--users is 1 or more, --policies from 2 to 64".into()));
    }
    let mut random = StdRng::seed_from_u64(args.seed);
    let learning = &config.learning.model;
    let mut errors = [0.0; TOLD.len()];
    for _ in 0..args.users {
        let truth = person(&mut random, args.policies);
        let names = (0..args.policies).map(|i| i.to_string()).collect();
        let mut taste = Taste::new(names, vec![1.0 / args.policies as f64; args.policies], learning);
        for count in 0..=TOLD[TOLD.len() - 1] {
            if let Some(at) = TOLD.iter().position(|told| *told == count) {
                let apart = taste.weights().iter().zip(&truth).map(|(w, t)| (w - t).abs()).sum::<f64>();
                errors[at] += apart / args.users as f64;
            }
            let questions: Vec<_> = (0..QUESTIONS).map(|_| question(&mut random, args.policies)).collect();
            let teaches = |gains: &Vec<f64>| taste.information(gains, learning);
            let best = questions.iter().max_by(|a, b| teaches(a).total_cmp(&teaches(b))).expect("there are some");
            let value: f64 = best.iter().zip(&truth).map(|(gain, weight)| gain * weight).sum();
            let chosen = random.random::<f64>() < 1.0 / (1.0 + (-learning.sharpness * value).exp());
            taste.learn(best, f64::from(u8::from(chosen)), learning);
        }
    }
    let (users, policies) = (args.users, args.policies);
    println!("{users} people, {policies} policies, sharpness {}: mean L1 error of the weights", learning.sharpness);
    for (count, error) in TOLD.iter().zip(errors) {
        println!("{count:>4} choices  {error:.3}  ({:.0} % of uniform)", 100.0 * error / errors[0]);
    }
    Ok(())
}

/// Every point of the simplex alike.
fn person(random: &mut StdRng, policies: usize) -> Vec<f64> {
    let parts: Vec<f64> = (0..policies).map(|_| -(1.0 - random.random::<f64>()).ln()).collect();
    let sum: f64 = parts.iter().sum();
    parts.iter().map(|part| part / sum).collect()
}

/// What one answer gains on another under each policy.
fn question(random: &mut StdRng, policies: usize) -> Vec<f64> {
    let mut gain = || {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        GAIN * radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
    };
    (0..policies).map(|_| gain() - gain()).collect()
}
