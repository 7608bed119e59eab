//! The whole study, from a configuration to its figures.

use std::sync::Arc;

use tureen_engine::{Checkpoint, Precision};

use super::answers::{Answers, Kitchen, Replies, Reply, Speaker};
use super::config::{EvaluationConfig, EvaluationGeneration, combinations};
use super::cost::costs;
use super::curves::{Curve, CurvePoint, WEIGHTS};
use super::kept::{self, Kept};
use super::news::News;
use super::pairwise::{Duel, counted, joined, points};
use super::plan::{ALONE, Method, Mixture, PAIRWISE, Plan, open};
use super::poles::{Pole, poles};
use super::statistics::{Estimate, clustered_bootstrap};
use super::{Evaluation, MethodScores, PolicyScore, Sample, trained};
use crate::annotate::{Annotator, AnnotatorOptions, Remembering};
use crate::error::TrainError;
use crate::generator::{Computing, Generator};
use crate::model::TEMPLATE;
use crate::prompts::{Prompt, Split, prepare, read};
use crate::reward::MeasureOptions;

/// Prompts whose answers are shown.
const SHOWN: usize = 4;

/// Answers, scores, compares, mixes and adds up, as `config` says, and tells how far it is. Answers are kept in
/// `answers.jsonl` in the folder `config.out`, which must be there; those of a run that was broken off are taken up.
///
/// # Errors
/// A base, pool or prompts that cannot be used, a policy that nothing is known of, a judge that trained what it would
/// judge, or one that does not answer; answers of another evaluation in the folder.
pub fn evaluate(config: &EvaluationConfig, tell: &mut dyn FnMut(News)) -> Result<Evaluation, TrainError> {
    let pool = open(&config.pool)?;
    if pool.policies().is_empty() {
        return Err(TrainError::Invalid(format!("{}: a pool without policies has no soups", config.pool.display())));
    }
    let combinations = combinations(config, &pool)?;
    let facts = trained::metadata(&config.pool)?;
    let poles = poles(config, &pool, &facts)?;
    let checkpoint = Checkpoint::open(&config.model.base).map_err(|error| TrainError::Base(error.to_string()))?;
    let checkpoint = Arc::new(checkpoint);
    pool.check_base(&checkpoint.base_facts()).map_err(|error| TrainError::Invalid(error.to_string()))?;
    let prompts = read(config.prompts.file.as_deref(), Split::Heldout)?;
    let prompts = prepare(&checkpoint, prompts, config.prompts.max_prompt_tokens)?;
    // On the CPU in what servers compute in by default.
    let computing = Computing { device: config.model.device, precision: Precision::Int8 };
    let identity = kept::identity(&checkpoint, &pool, &prompts, &config.generation, computing.effective());
    let draws = config.generation.answers_per_prompt;
    let kept = Kept::take_up(&config.out.join("answers.jsonl"), identity, &prompts, draws)?;
    let mut added = 0;
    for pole in &poles {
        let tokens = checkpoint.tokenizer().encode(&pole.instruction, false);
        added = added.max(2 + tokens.map_err(|error| TrainError::Base(error.to_string()))?.len());
    }
    let asked = config.prompts.max_prompt_tokens + added * pool.dimensions().len();
    let longest = TEMPLATE + asked + config.generation.max_new_tokens;
    let generator = Generator::start(checkpoint.clone(), longest, computing)?;
    let plan = Plan::new(config, &pool, &poles, &combinations, &generator)?;
    let kitchen = Kitchen { generator: &generator, prompts: &prompts, generation: &config.generation, kept };
    let answers = kitchen.answer(&plan.studies(), tell)?;
    let study = Study { config, poles: &poles, prompts: &prompts, answers };

    let alone = study.alone(&plan)?;
    tell(News::Compared { study: ALONE, duels: alone.len() });
    let pairwise = study.pairwise(&plan.methods, &combinations)?;
    tell(News::Compared { study: PAIRWISE, duels: pairwise.iter().filter(|duel| duel.policy.is_some()).count() });
    let told = || {
        let seconds = facts.values().filter_map(|facts| facts.get("tureen.cpu_seconds")?.parse::<f64>().ok());
        let seconds: Vec<f64> = seconds.collect();
        (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64 / 3600.0)
    };
    let hours_per_policy = config.cost.hours_per_policy.or_else(told);
    Ok(Evaluation {
        base: checkpoint.name().to_owned(),
        revision: pool.revision().to_string(),
        prompt_set: config.prompts.name.clone(),
        prompts: prompts.len(),
        answers_per_prompt: config.generation.answers_per_prompt,
        max_new_tokens: config.generation.max_new_tokens,
        combinations: combinations.iter().map(|combination| study.names(combination)).collect(),
        scores: study.scores(&plan.methods, &combinations),
        alone,
        pairwise,
        control: study.curves(&plan.control),
        conflict: study.curves(&plan.conflict),
        cost: hours_per_policy.map(costs).unwrap_or_default(),
        hours_per_policy,
        samples: study.samples(&plan.methods),
    })
}

struct Study<'a> {
    config: &'a EvaluationConfig,
    /// In the order of the pool's policies.
    poles: &'a [Pole],
    prompts: &'a [Prompt],
    answers: Answers,
}

impl Study<'_> {
    fn names(&self, combination: &[usize]) -> Vec<String> {
        combination.iter().map(|&pole| self.poles[pole].id.clone()).collect()
    }

    fn score(&self, pole: usize, replies: &[Replies]) -> PolicyScore {
        let Pole { id, score: MeasureOptions { measure, higher }, .. } = &self.poles[pole];
        let EvaluationGeneration { resamples, seed, .. } = self.config.generation;
        let values = |replies: &Replies| replies.iter().map(|reply| measure.of(&reply.text)).collect();
        let score = clustered_bootstrap(&replies.iter().map(values).collect::<Vec<_>>(), resamples, seed);
        let (policy, measure) = (id.clone(), measure.name().to_owned());
        PolicyScore { policy, measure, higher: *higher, score }
    }

    fn scores(&self, methods: &[Method], combinations: &[Vec<usize>]) -> Vec<MethodScores> {
        let mut scores = Vec::new();
        for (index, combination) in combinations.iter().enumerate() {
            for method in methods {
                let replies = self.answers.of(&method.speakers[index]);
                scores.push(MethodScores {
                    method: method.name.clone(),
                    combination: self.names(combination),
                    measures: combination.iter().map(|&pole| self.score(pole, replies)).collect(),
                    gate: mean(replies, |reply| reply.gate),
                    base_nll: mean(replies, |reply| reply.base_nll),
                });
            }
        }
        scores
    }

    /// The judge of a pole. What a model said is kept in the folder of the evaluation.
    fn annotator(&self, pole: &Pole) -> Result<Box<dyn Annotator>, TrainError> {
        let annotator = pole.judge.annotator()?;
        if !matches!(pole.judge, AnnotatorOptions::Judge(_)) {
            return Ok(annotator);
        }
        let verdicts = self.config.out.join(format!("{}.verdicts.jsonl", pole.id));
        Ok(Box::new(Remembering::new(annotator, &pole.judge.identity()?, &verdicts)?))
    }

    fn duel(&self, names: [&str; 2], combination: Vec<String>, pole: Option<&Pole>, all: &[Vec<f64>]) -> Duel {
        let [first, second] = names.map(str::to_owned);
        let duel = Duel {
            first,
            second,
            combination,
            policy: pole.map(|pole| pole.id.clone()),
            judge: pole.map_or_else(|| "all judges".into(), |pole| pole.judge.name()),
            wins: 0,
            ties: 0,
            losses: 0,
            rate: Estimate { mean: 0.0, low: 0.0, high: 0.0 },
        };
        counted(duel, all, self.config.generation.resamples, self.config.generation.seed)
    }

    fn alone(&self, Plan { base, alone, .. }: &Plan) -> Result<Vec<Duel>, TrainError> {
        let base = self.answers.of(base);
        let mut duels = Vec::new();
        for (pole, speaker) in self.poles.iter().zip(alone) {
            let mut annotator = self.annotator(pole)?;
            let points = points(annotator.as_mut(), self.prompts, [self.answers.of(speaker), base])?;
            duels.push(self.duel([&pole.id, "base"], vec![pole.id.clone()], Some(pole), &points));
        }
        Ok(duels)
    }

    fn pairwise(&self, methods: &[Method], combinations: &[Vec<usize>]) -> Result<Vec<Duel>, TrainError> {
        let mut annotators = Vec::new();
        for pole in self.poles {
            annotators.push(self.annotator(pole)?);
        }
        let (mut over_all, mut single) = (Vec::new(), Vec::new());
        for (index, second) in methods.iter().enumerate() {
            for first in &methods[index + 1..] {
                let names = [first.name.as_str(), second.name.as_str()];
                let mut all = Vec::new();
                for (number, combination) in combinations.iter().enumerate() {
                    let replies = [first, second].map(|method| self.answers.of(&method.speakers[number]));
                    for &pole in combination {
                        let points = points(annotators[pole].as_mut(), self.prompts, replies)?;
                        let wished = self.names(combination);
                        single.push(self.duel(names, wished, Some(&self.poles[pole]), &points));
                        all.push(points);
                    }
                }
                over_all.push(self.duel(names, Vec::new(), None, &joined(&all)));
            }
        }
        over_all.append(&mut single);
        Ok(over_all)
    }

    /// What each mixture of two policies shows.
    fn curves(&self, mixtures: &[Mixture]) -> Vec<Curve> {
        let curve = |mixture: &Mixture| {
            let point = |(weight, speaker): (f64, &Speaker)| {
                let replies = self.answers.of(speaker);
                let scores = mixture.policies.map(|pole| self.score(pole, replies));
                CurvePoint { weight, scores, gate: mean(replies, |reply| reply.gate) }
            };
            let points = WEIGHTS.into_iter().zip(&mixture.speakers).map(point).collect();
            Curve::new(mixture.policies.map(|pole| self.poles[pole].id.clone()), points)
        };
        mixtures.iter().map(curve).collect()
    }

    fn samples(&self, methods: &[Method]) -> Vec<Sample> {
        let shown = self.prompts.iter().enumerate().take(SHOWN);
        let of = |row: usize, method: &Method| {
            let reply = self.answers.of(method.speakers.first()?).get(row)?.first()?;
            Some((method.name.clone(), reply.text.trim().to_owned()))
        };
        let sample = |(row, prompt): (usize, &Prompt)| Sample {
            prompt: prompt.text.clone(),
            answers: methods.iter().filter_map(|method| of(row, method)).collect(),
        };
        shown.map(sample).collect()
    }
}

fn mean(replies: &[Replies], of: fn(&Reply) -> f64) -> f64 {
    let values: Vec<f64> = replies.iter().flatten().map(of).collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
