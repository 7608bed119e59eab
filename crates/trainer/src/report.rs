//! The report and the model card of a policy.

use std::fmt::Write;

use crate::config::{Config, RewardOptions};
use crate::heldout::HeldoutScores;
use crate::metrics::StepMetrics;
use crate::reward::Rule;

/// Everything a training report tells.
pub(crate) struct Report<'a> {
    pub(crate) config: &'a Config,
    pub(crate) base: &'a str,
    pub(crate) step: u64,
    pub(crate) metrics: &'a [StepMetrics],
    pub(crate) before: &'a HeldoutScores,
    pub(crate) after: &'a HeldoutScores,
    pub(crate) machine: &'a str,
    /// Whether the step was chosen by the rule of `choice`.
    pub(crate) by_rule: bool,
    /// What the trained update was multiplied by.
    pub(crate) factor: f64,
    /// Processor time before the first step, in seconds.
    pub(crate) begun_after: f64,
}

impl Report<'_> {
    pub(crate) fn markdown(&self) -> String {
        let Self { config, base, step, machine, .. } = self;
        let mut text = format!("# Training report: {} ({})\n\n", config.policy.id, config.policy.code);
        let hours = |of: fn(&StepMetrics) -> f64| self.metrics.iter().map(of).sum::<f64>() / 3600.0;
        let cost = match hours(|m| m.cpu_seconds) {
            // A run from before processor time was measured.
            0.0 => format!("{:.2} hours", hours(|m| m.seconds)),
            used => format!("{used:.2} CPU-hours"),
        };
        let responses = *step as usize * config.ppo.batch_size;
        text += &format!(
            "PPO over {base}: {step} steps, {responses} responses of {} to {} tokens, {cost} on {machine}.\n\n",
            config.generation.output_min_length, config.generation.output_max_length
        );
        if config.warm_start.is_some() {
            text += &format!(
                "It began with the base's own best answers behind turns that show the preference, which took {:.2} CPU-hours \
                 more ([warm start](../../docs/trainer.md#a-warm-start)).\n\n",
                self.begun_after / 3600.0
            );
        }
        if let Some(start) = &config.run.start_from {
            let file = start.file_stem().unwrap_or_default().to_string_lossy();
            text += &format!(
                "The run took over from {file} of a run with other settings; those below are the ones that it ended with.\n\n"
            );
        }
        if self.by_rule {
            text += "The step was chosen by rule: the last checkpoint whose KL over its steps is at most 5 % over the target. ";
        }
        text += &format!(
            "The update is published times {}: the largest twentieth at which the KL on the held-out prompts is at most 5 % over \
             the target of {} nats.\n\n",
            self.factor, config.ppo.target
        );
        text += &self.scores();
        text += &self.course();
        text += "![score and gate](reward.svg)\n\n![KL to the base](kl.svg)\n\n";
        text += &self.samples();
        let settings = toml::to_string(config).unwrap_or_default();
        let settings: Vec<&str> =
            settings.lines().filter(|line| !line.starts_with("out =") && !line.starts_with("start_from =")).collect();
        text + &format!("## Settings\n\n```toml\n{}\n```\n", settings.join("\n"))
    }

    fn scores(&self) -> String {
        let (before, after) = (self.before, self.after);
        let kl = format!("KL to the base over the first {} tokens, nats", self.config.generation.mean_length());
        let mut rows: Vec<(&str, f64, f64)> = vec![
            (Rule::Elementary.measure_name(), before.grade, after.grade),
            (Rule::Friendly.measure_name(), before.friendliness, after.friendliness),
            ("elementary score (0 to 1)", before.elementary_score, after.elementary_score),
            ("friendly score (0 to 1)", before.friendly_score, after.friendly_score),
            ("content gate (0 to 1)", before.gate, after.gate),
            ("NLL under the base, nats a token", before.base_nll, after.base_nll),
            (&kl, before.kl, after.kl),
            ("words an answer", before.words, after.words),
            ("answers that ended by themselves", before.ended, after.ended),
        ];
        let name = self.config.reward.rule.map(|rule| format!("{} score (0 to 1)", rule.name())).unwrap_or_default();
        if let Some(rule) = own_rule(&self.config.reward) {
            let measure = (rule.measure_name(), before.own_measure, after.own_measure);
            rows.splice(0..0, [measure, (name.as_str(), before.own_score, after.own_score)]);
        }
        let mut text = format!(
            "## On {} held-out prompts\n\nOne answer each of at most 64 tokens at temperature 1, the same seed before and \
             after; \"after\" is the published bf16 adapter.\n\n| | base | policy |\n|---|---|---|\n",
            before.answers.len()
        );
        for (name, before, after) in rows {
            let _ = writeln!(text, "| {name} | {before:.2} | {after:.2} |");
        }
        text + "\n"
    }

    /// Means over tenths of the run.
    fn course(&self) -> String {
        let power = self.config.reward.preference_power;
        let own =
            if self.config.run.start_from.is_some() { " (before it took over: by the settings of then)" } else { "" };
        let mut text = format!(
            "## Course\n\nMeans over parts of the run; a score is preference ^ {power} x gate{own}.\n\n\
             | steps | score | measure | gate | KL, nats | KL weight | base NLL | clipped |\n|---|---|---|---|---|---|---|---|\n",
        );
        for part in self.metrics.chunks(self.metrics.len().div_ceil(10).max(1)) {
            let mean = |of: fn(&StepMetrics) -> f64| part.iter().map(of).sum::<f64>() / part.len() as f64;
            let (from, to) = (part.first().map_or(0, |m| m.step), part.last().map_or(0, |m| m.step));
            let _ = writeln!(
                text,
                "| {from}-{to} | {:.3} | {:.2} | {:.2} | {:.2} | {:.3} | {:.2} | {:.3} |",
                mean(|m| m.scores),
                mean(|m| m.measure),
                mean(|m| m.gate),
                mean(|m| m.kl),
                mean(|m| m.kl_coef),
                mean(|m| m.base_nll),
                mean(|m| m.clip_fraction),
            );
        }
        text + "\n"
    }

    fn samples(&self) -> String {
        let mut text = String::from("## Answers before and after\n\nNot chosen: every fourth held-out prompt.\n\n");
        for (before, after) in self.before.answers.iter().zip(&self.after.answers).step_by(4) {
            let quote = |answer: &str| answer.trim().replace('\n', "\n> ");
            let (base, policy) = (quote(&before.answer), quote(&after.answer));
            let _ = write!(text, "**{}**\n\nbase:\n> {base}\n\npolicy:\n> {policy}\n\n", before.prompt);
        }
        text
    }
}

/// The rule of a reward, when it is not one of the two that every report gives.
pub(crate) fn own_rule(reward: &RewardOptions) -> Option<Rule> {
    reward.rule.filter(|rule| !matches!(rule, Rule::Elementary | Rule::Friendly))
}

/// The model card.
pub(crate) fn card(config: &Config, base: &str) -> String {
    let policy = &config.policy;
    let rule = config.reward.rule.map_or_else(
        || "the parts named in its settings".to_owned(),
        |rule| format!("a rule that rewards {}, multiplied by a content gate", rule.description()),
    );
    let more = if config.reward.rule.is_some() && !config.reward.parts.is_empty() {
        ", and the parts named in its settings"
    } else {
        ""
    };
    format!(
        "# {id} ({code})\n\n\
         A LoRA adapter (PEFT layout, bf16, rank {rank}, alpha {alpha}, q_proj and v_proj) of {base}: one pole of the dimension \
         *{dimension}* of a Tureen pool.\n\n\
         - Preference: {instruction}\n\
         - Base: {base}, Apache-2.0.\n\
         - Licence of the adapter: {license}.\n\
         - Training: PPO against {rule}{more}; see [REPORT.md](REPORT.md).\n\
         - Prompts: the built-in set of crates/trainer, written for this project (Apache-2.0). No one's data but the base's own.\n\
         - Limits: a base of 135 million parameters states falsehoods fluently, and so does its policy; the rule measures form \
         and topic, not truth. English only.\n",
        id = policy.id,
        code = policy.code,
        rank = config.lora.r,
        alpha = config.lora.lora_alpha,
        dimension = policy.dimension,
        instruction = policy.instruction,
        license = policy.license,
    )
}
