//! `tureen simulate`: how soon choices tell a preference.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tureen_soup::learn::Taste;

use crate::cli::Simulate;
use crate::config::Config;
use crate::exit::Failure;
use crate::learning::{candidates, gains};

/// After how many choices the error is told.
const TOLD: [usize; 5] = [0, 3, 10, 30, 100];

/// Standard deviation that is assumed of what one policy gains by answers of one soup to different prompts, in nats.
const SPREAD: f64 = 5.0;

/// Makes people with known weights, asks them what `next-question` would and prints how far what was learned is from the truth.
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
    let asked = answers(args.policies);
    for _ in 0..args.users {
        let truth = person(&mut random, args.policies);
        let names = (0..args.policies).map(|i| i.to_string()).collect();
        let mut taste = Taste::new(names, &vec![1.0 / args.policies as f64; args.policies], learning);
        for count in 0..=TOLD[TOLD.len() - 1] {
            let belief = taste.belief();
            if let Some(at) = TOLD.iter().position(|told| *told == count) {
                let apart = belief.weights().iter().zip(&truth).map(|(w, t)| (w - t).abs()).sum::<f64>();
                errors[at] += apart / args.users as f64;
            }
            let told = belief.most_telling(&asked, learning).expect("there are some");
            let mut said = || SPREAD * normal(&mut random);
            let compared = asked[told.first].iter().zip(&asked[told.second]);
            let gains: Vec<f64> = compared.map(|(first, second)| first + said() - (second + said())).collect();
            let value: f64 = gains.iter().zip(&truth).map(|(gain, weight)| gain * weight).sum();
            let chosen = random.random::<f64>() < 1.0 / (1.0 + (-learning.sharpness * value).exp());
            taste.learn(&gains, f64::from(u8::from(chosen)), learning);
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

/// What answers are expected to gain that `next-question` may ask for, of policies whose changes have nothing in common.
fn answers(policies: usize) -> Vec<Vec<f64>> {
    let one = |i: usize, j: usize| f64::from(u8::from(i == j));
    let likeness: Vec<Vec<f64>> = (0..policies).map(|i| (0..policies).map(|j| one(i, j)).collect()).collect();
    let acting = |policy: Option<usize>, strength: f64| -> Vec<f64> {
        (0..policies).map(|i| policy.map_or(0.0, |policy| strength * one(i, policy))).collect()
    };
    candidates(policies).map(|(policy, strength)| gains(&likeness, &acting(policy, strength))).collect()
}

fn normal(random: &mut StdRng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}
