//! The whole study, from a configuration to its figures.

use std::path::Path;
use std::sync::Arc;

use tureen_engine::{Checkpoint, Precision};
use tureen_soup::{MergeOptions, Pool, PoolOptions, Preference};

use super::answers::{Kitchen, Reply, Speaker};
use super::config::{EvaluationConfig, MethodOptions, combinations};
use super::cost::costs;
use super::curves::{Curve, CurvePoint, WEIGHTS};
use super::pairwise::{Duel, counted, mean_points, points};
use super::statistics::{Estimate, bootstrap};
use super::{Evaluation, MethodScores, PolicyScore, Sample, trained};
use crate::annotate::{Annotator, AnnotatorOptions, Remembering};
use crate::error::TrainError;
use crate::generator::{Generator, PooledSoup};
use crate::model::load_base;
use crate::prompts::{Split, prepare, read};
use crate::reward::MeasureOptions;

/// Prompts whose answers are shown.
const SHOWN: usize = 4;

/// Answers, scores, compares, mixes and adds up, as `config` says.
///
/// # Errors
/// A base, pool or prompts that cannot be used, a policy that nothing is known of, a judge that trained what it would
/// judge, or one that does not answer.
pub fn evaluate(config: &EvaluationConfig) -> Result<Evaluation, TrainError> {
    let pool = open(&config.pool)?;
    if pool.policies().is_empty() {
        return Err(TrainError::Invalid(format!("{}: a pool without policies has no soups", config.pool.display())));
    }
    let combinations = combinations(&pool)?;
    let facts = trained::metadata(&config.pool)?;
    let mut poles = Vec::new();
    for policy in pool.policies() {
        let id = policy.id().to_string();
        let judge = config.judge_of(&id)?;
        let mut trainers = config.trained_by.get(&id).cloned().unwrap_or_default();
        let told = facts.get(&id).and_then(|facts| facts.get("tureen.trained_by"));
        trainers
            .extend(told.map_or_else(|| vec![format!("rule {id}")], |told| told.split(", ").map(Into::into).collect()));
        if trainers.contains(&judge.name()) {
            return Err(TrainError::Invalid(format!("{id} was trained by the {} that would judge it", judge.name())));
        }
        let instruction = policy.instruction().to_owned();
        poles.push(Pole { score: config.score_of(&id)?, judge, instruction, id });
    }
    let checkpoint = Checkpoint::open(&config.model.base).map_err(|error| TrainError::Base(error.to_string()))?;
    let checkpoint = Arc::new(checkpoint);
    pool.check_base(&checkpoint.base_facts()).map_err(|error| TrainError::Invalid(error.to_string()))?;
    let prompts = read(config.prompts.file.as_deref(), Split::Heldout)?;
    let prompts = prepare(&checkpoint, prompts, config.prompts.max_prompt_tokens)?;
    let mut added = 0;
    for pole in &poles {
        let tokens = checkpoint.tokenizer().encode(&pole.instruction, false);
        added = added.max(2 + tokens.map_err(|error| TrainError::Base(error.to_string()))?.len());
    }
    let longest = config.prompts.max_prompt_tokens + added * pool.dimensions().len() + config.generation.max_new_tokens;
    let base = load_base(&checkpoint, longest)?;
    let generator = Generator::start(checkpoint.clone(), base.geometry().positions, Precision::Int8)?;
    let known = std::cell::RefCell::default();
    let kitchen =
        Kitchen { base: &base, generator: &generator, prompts: &prompts, generation: &config.generation, known };
    let study = Study { config, pool, poles, kitchen };

    let methods = study.methods(&combinations)?;
    let scores = study.scores(&methods, &combinations);
    let (control, conflict) = study.curves()?;
    let told = || {
        let seconds = facts.values().filter_map(|facts| facts.get("tureen.cpu_seconds")?.parse::<f64>().ok());
        let seconds: Vec<f64> = seconds.collect();
        (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64 / 3600.0)
    };
    let hours_per_policy = config.cost.hours_per_policy.or_else(told);
    Ok(Evaluation {
        base: checkpoint.name().to_owned(),
        revision: study.pool.revision().to_string(),
        prompt_set: config.prompts.name.clone(),
        prompts: prompts.len(),
        max_new_tokens: config.generation.max_new_tokens,
        combinations: combinations.iter().map(|combination| study.names(combination)).collect(),
        alone: study.alone()?,
        pairwise: study.pairwise(&methods, &combinations)?,
        samples: study.samples(&methods),
        scores,
        control,
        conflict,
        cost: hours_per_policy.map(costs).unwrap_or_default(),
        hours_per_policy,
    })
}

/// A policy of the pool, and how answers are held against its preference.
struct Pole {
    id: String,
    instruction: String,
    score: MeasureOptions,
    judge: AnnotatorOptions,
}

/// A method's answers under each combination.
struct Method {
    name: String,
    replies: Vec<Vec<Reply>>,
}

struct Study<'a> {
    config: &'a EvaluationConfig,
    pool: Arc<Pool>,
    /// In the order of the pool's policies.
    poles: Vec<Pole>,
    kitchen: Kitchen<'a>,
}

impl Study<'_> {
    fn names(&self, combination: &[usize]) -> Vec<String> {
        combination.iter().map(|&pole| self.poles[pole].id.clone()).collect()
    }

    fn soup(&self, shares: &[(usize, f64)], strength: f64) -> Result<PooledSoup, TrainError> {
        let pairs = shares.iter().map(|&(pole, weight)| (self.poles[pole].id.clone(), weight));
        let preference = Preference::from_pairs(pairs).map_err(|error| TrainError::Invalid(error.to_string()))?;
        PooledSoup::new(&self.pool, &preference, &MergeOptions { strength, ..MergeOptions::default() })
    }

    /// All answers of all methods: one batch.
    fn methods(&self, combinations: &[Vec<usize>]) -> Result<Vec<Method>, TrainError> {
        let mut speakers = Vec::new();
        for method in self.config.methods.values() {
            let pool = match method {
                MethodOptions::Policy { pool, .. } => Some(open(pool)?),
                _ => None,
            };
            for combination in combinations {
                let told = || combination.iter().map(|&pole| self.poles[pole].instruction.clone()).collect();
                speakers.push(match method {
                    MethodOptions::Base => Speaker { soup: self.kitchen.generator.base()?, instructions: Vec::new() },
                    MethodOptions::Prompting => Speaker { soup: self.kitchen.generator.base()?, instructions: told() },
                    MethodOptions::Soup { strength } => {
                        let shares: Vec<(usize, f64)> = combination.iter().map(|&pole| (pole, 1.0)).collect();
                        Speaker { soup: self.soup(&shares, *strength)?, instructions: Vec::new() }
                    }
                    MethodOptions::Policy { policy, prompted, .. } => {
                        let only = Preference::from_pairs([(policy.clone(), 1.0)]);
                        let only = only.map_err(|error| TrainError::Invalid(error.to_string()))?;
                        let pool = pool.as_ref().unwrap_or(&self.pool);
                        let soup = PooledSoup::new(pool, &only, &MergeOptions::default())?;
                        Speaker { soup, instructions: if *prompted { told() } else { Vec::new() } }
                    }
                });
            }
        }
        let mut replies = self.kitchen.answer(&speakers)?.into_iter();
        let of =
            |name: &String| Method { name: name.clone(), replies: replies.by_ref().take(combinations.len()).collect() };
        Ok(self.config.methods.keys().map(of).collect())
    }

    fn estimate(&self, values: &[f64]) -> Estimate {
        bootstrap(values, self.config.generation.resamples, self.config.generation.seed)
    }

    fn score(&self, pole: usize, replies: &[Reply]) -> PolicyScore {
        let Pole { id, score: MeasureOptions { measure, higher }, .. } = &self.poles[pole];
        let values: Vec<f64> = replies.iter().map(|reply| measure.of(&reply.text)).collect();
        let (policy, measure, score) = (id.clone(), measure.name().to_owned(), self.estimate(&values));
        PolicyScore { policy, measure, higher: *higher, score }
    }

    fn scores(&self, methods: &[Method], combinations: &[Vec<usize>]) -> Vec<MethodScores> {
        let mut scores = Vec::new();
        for (index, combination) in combinations.iter().enumerate() {
            for method in methods {
                let replies = &method.replies[index];
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
        Ok(Box::new(Remembering::new(annotator, &pole.judge.identity(), &verdicts)?))
    }

    fn duel(&self, names: [&str; 2], combination: Vec<String>, pole: Option<&Pole>, all: &[f64]) -> Duel {
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

    fn alone(&self) -> Result<Vec<Duel>, TrainError> {
        let mut speakers = vec![Speaker { soup: self.kitchen.generator.base()?, instructions: Vec::new() }];
        for pole in 0..self.poles.len() {
            speakers.push(Speaker { soup: self.soup(&[(pole, 1.0)], 1.0)?, instructions: Vec::new() });
        }
        let replies = self.kitchen.answer(&speakers)?;
        let mut duels = Vec::new();
        for (pole, own) in self.poles.iter().zip(&replies[1..]) {
            let mut annotator = self.annotator(pole)?;
            let points = points(annotator.as_mut(), self.kitchen.prompts, [own, &replies[0]])?;
            duels.push(self.duel([&pole.id, "base"], vec![pole.id.clone()], Some(pole), &points));
        }
        Ok(duels)
    }

    fn pairwise(&self, methods: &[Method], combinations: &[Vec<usize>]) -> Result<Vec<Duel>, TrainError> {
        let mut annotators = Vec::new();
        for pole in &self.poles {
            annotators.push(self.annotator(pole)?);
        }
        let (mut over_all, mut single) = (Vec::new(), Vec::new());
        for (index, second) in methods.iter().enumerate() {
            for first in &methods[index + 1..] {
                let names = [first.name.as_str(), second.name.as_str()];
                let mut all = Vec::new();
                for (number, combination) in combinations.iter().enumerate() {
                    let replies = [first.replies[number].as_slice(), second.replies[number].as_slice()];
                    for &pole in combination {
                        let points = points(annotators[pole].as_mut(), self.kitchen.prompts, replies)?;
                        let wished = self.names(combination);
                        single.push(self.duel(names, wished, Some(&self.poles[pole]), &points));
                        all.push(points);
                    }
                }
                let mut duel = self.duel(names, Vec::new(), None, &mean_points(&all));
                // Of single verdicts: means of points are neither wins nor losses.
                let verdicts: Vec<f64> = all.concat();
                let count = |value: f64| verdicts.iter().filter(|point| **point == value).count();
                (duel.wins, duel.ties, duel.losses) = (count(1.0), count(0.5), count(0.0));
                over_all.push(duel);
            }
        }
        over_all.append(&mut single);
        Ok(over_all)
    }

    /// Each two policies mixed: those of different dimensions, then opposite poles.
    fn curves(&self) -> Result<(Vec<Curve>, Vec<Curve>), TrainError> {
        let mut pairs = Vec::new();
        let mut speakers = Vec::new();
        for first in 0..self.poles.len() {
            for second in first + 1..self.poles.len() {
                for weight in WEIGHTS {
                    let soup = self.soup(&[(first, weight), (second, 1.0 - weight)], 1.0)?;
                    speakers.push(Speaker { soup, instructions: Vec::new() });
                }
                pairs.push((first, second));
            }
        }
        let replies = self.kitchen.answer(&speakers)?;
        let (mut control, mut conflict) = (Vec::new(), Vec::new());
        for (&(first, second), mixtures) in pairs.iter().zip(replies.chunks(WEIGHTS.len())) {
            let point = |(weight, replies): (f64, &Vec<Reply>)| CurvePoint {
                weight,
                scores: [first, second].map(|pole| self.score(pole, replies)),
                gate: mean(replies, |reply| reply.gate),
            };
            let points = WEIGHTS.into_iter().zip(mixtures).map(point).collect();
            let dimension = |pole: usize| self.pool.policies()[pole].dimension();
            let curves = if dimension(first) == dimension(second) { &mut conflict } else { &mut control };
            curves.push(Curve::new([first, second].map(|pole| self.poles[pole].id.clone()), points));
        }
        Ok((control, conflict))
    }

    fn samples(&self, methods: &[Method]) -> Vec<Sample> {
        let shown = self.kitchen.prompts.iter().enumerate().take(SHOWN);
        let of = |row: usize, method: &Method| {
            Some((method.name.clone(), method.replies.first()?.get(row)?.text.trim().to_owned()))
        };
        let sample = |(row, prompt): (usize, &crate::prompts::Prompt)| Sample {
            prompt: prompt.text.clone(),
            answers: methods.iter().filter_map(|method| of(row, method)).collect(),
        };
        shown.map(sample).collect()
    }
}

fn mean(replies: &[Reply], of: fn(&Reply) -> f64) -> f64 {
    replies.iter().map(of).sum::<f64>() / replies.len().max(1) as f64
}

fn open(dir: &Path) -> Result<Arc<Pool>, TrainError> {
    let opened = Pool::open(dir, &PoolOptions::default()).map_err(|error| TrainError::Invalid(error.to_string()))?;
    Ok(Arc::new(opened))
}
