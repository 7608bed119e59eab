//! `evaluate`: soups against everything they are compared with.

use std::path::PathBuf;

use clap::Args;

use super::device::DeviceArgs;
use super::progress::bar;
use crate::error::TrainError;
use crate::evaluation::{Duel, Estimate, Evaluation, EvaluationConfig, News, Tally, evaluate as study, page};
use crate::state::write_atomically;

/// Scores and compares soups, the base and baselines on held-out prompts.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// The configuration (TOML).
    #[arg(long)]
    pub config: PathBuf,
    /// Where it computes.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Writes `evaluation.json` and `evaluation.html`, and prints what they come to. A run that was broken off goes on where
/// it was.
///
/// # Errors
/// A base or pool that cannot be used, a judge that trained what it would judge, answers of another evaluation in the
/// folder, or files that cannot be written.
pub fn evaluate(args: EvaluateArgs) -> Result<(), TrainError> {
    let EvaluateArgs { config, device } = args;
    let device = device.chosen()?;
    let mut config = EvaluationConfig::read(&config)?;
    config.model.device = device;
    std::fs::create_dir_all(&config.out).map_err(TrainError::io(&config.out))?;
    let evaluation = watched(&config)?;
    let json =
        serde_json::to_string_pretty(&evaluation).map_err(|error| TrainError::Invalid(error.to_string()))? + "\n";
    write_atomically(&config.out.join("evaluation.json"), json.as_bytes())?;
    write_atomically(&config.out.join("evaluation.html"), page(&evaluation)?.as_bytes())?;
    print!("{}", summary(&evaluation));
    Ok(())
}

/// Evaluates with a bar of the answers, and a line for each study.
fn watched(config: &EvaluationConfig) -> Result<Evaluation, TrainError> {
    let bar = bar(0, "answers");
    let evaluation = study(config, &mut |news| match news {
        News::Begun { taken_up, all } => {
            bar.set_length(all as u64);
            bar.set_position(taken_up as u64);
            // What is left takes its time from what is made now.
            bar.reset_eta();
        }
        News::Made(answers) => bar.inc(answers as u64),
        News::Answered { study, tally: Tally { made, taken_up, shared } } => bar.suspend(|| {
            tracing::info!("{study}: {made} answers made, {taken_up} taken up, {shared} shared with what came before");
        }),
        News::Compared { study, duels } => bar.suspend(|| tracing::info!("{study}: {duels} comparisons judged")),
    });
    bar.finish();
    evaluation
}

/// The figures that decide, as Markdown.
fn summary(evaluation: &Evaluation) -> String {
    let mut text = String::from(
        "| first | second | wished | judge | win | tie | lose | rate |\n|---|---|---|---|---|---|---|---|\n",
    );
    for duel in evaluation.alone.iter().chain(&evaluation.pairwise) {
        let Duel { first, second, combination, policy, judge, wins, ties, losses, rate } = duel;
        let wished = match policy {
            Some(policy) if combination.len() > 1 => format!("{policy} of {}", combination.join(" and ")),
            Some(policy) => policy.clone(),
            None => "all".into(),
        };
        let Estimate { mean, low, high } = rate;
        text += &format!(
            "| {first} | {second} | {wished} | {judge} | {wins} | {ties} | {losses} | {mean:.2} [{low:.2}, {high:.2}] |\n"
        );
    }
    text += "\n| method | wished | measures | content gate | perplexity |\n|---|---|---|---|---|\n";
    for scores in &evaluation.scores {
        let shown = scores.measures.iter().map(|score| format!("{} {:.2}", score.measure, score.score.mean));
        text += &format!(
            "| {} | {} | {} | {:.2} | {:.1} |\n",
            scores.method,
            scores.combination.join(" and "),
            shown.collect::<Vec<_>>().join(", "),
            scores.gate,
            scores.base_nll.exp()
        );
    }
    text += "\n| mixed | study | Spearman's rho |\n|---|---|---|\n";
    let studies = [("control", &evaluation.control), ("conflict", &evaluation.conflict)];
    for (study, curve) in studies.into_iter().flat_map(|(study, curves)| curves.iter().map(move |curve| (study, curve)))
    {
        let ([first, second], [one, two]) = (&curve.policies, curve.rho);
        text += &format!("| {first} and {second} | {study} | {one:.2}, {two:.2} |\n");
    }
    text
}
