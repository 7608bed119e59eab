//! A PPO run from its first step, or its last checkpoint, to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use tureen_engine::{Checkpoint, Precision};

use crate::clock::process_seconds;
use crate::config::Config;
use crate::error::TrainError;
use crate::generator::{Computing, FreshPool, Generator, Order, PooledSoup, Response, Sampling, answer_seed};
use crate::imitation::imitate;
use crate::metrics::{MetricsLog, StepMetrics};
use crate::model::{Base, Checkpointing, LoraAdapter, load_base_at};
use crate::place::Place;
use crate::ppo::{Adam, AdaptiveKl, RunningMoments};
use crate::preferences::{ActiveOptions, MeanOfActive, Preferences};
use crate::prompts::{Prompt, Split, chat_tokens, instructed, prepare, read};
use crate::reward::{Reward, RewardSum};
use crate::rollout::{Answered, Sample, judge};
use crate::state::{Progress, load, save};
use crate::update::{Learner, Targets, Updates};
use crate::value::ValueHead;
use crate::warm_start::WarmStart;

/// The checkpoint's name in the run's folder.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// A run: the frozen base, what learns, and where it stands.
pub struct Session {
    config: Config,
    checkpoint: Arc<Checkpoint>,
    /// What samples: the serving engine over the policy as it stands.
    generator: Generator,
    policy: FreshPool,
    base: Base,
    prompts: Vec<Prompt>,
    adapter: LoraAdapter,
    value_head: ValueHead,
    adam: Adam,
    checkpointing: Checkpointing,
    kl: AdaptiveKl,
    moments: RunningMoments,
    step: u64,
    cpu_seconds: f64,
    fingerprint: String,
    /// Opened by the first step: only a run that goes on may drop lines.
    log: Option<MetricsLog>,
    reward: Box<dyn Reward>,
    /// What prompts ask for in words, in a run of several preferences.
    preferences: Preferences,
}

impl Session {
    /// Loads the base and starts a run, or with `resume` continues the one in the run's folder (if it has a checkpoint).
    ///
    /// # Errors
    /// A base, prompts, reward model or checkpoint that cannot be used; a checkpoint of another configuration.
    pub fn open(config: Config, resume: bool) -> Result<Self, TrainError> {
        let options = config.reward.clone();
        let reward = |base: &Base, checkpoint: &Checkpoint| -> Result<Box<dyn Reward>, TrainError> {
            Ok(Box::new(RewardSum::configured(options, base, checkpoint)?))
        };
        Self::build(config, resume, Vec::new(), reward)
    }

    /// [`Session::open`] with another reward than the configured one.
    ///
    /// # Errors
    /// As for [`Session::open`].
    pub fn with_reward(config: Config, resume: bool, reward: Box<dyn Reward>) -> Result<Self, TrainError> {
        Self::build(config, resume, Vec::new(), |_, _| Ok(reward))
    }

    /// [`Session::open`] for one policy of several preferences: each prompt asks for one preference of each dimension, and
    /// the reward of an answer is the mean of those preferences' rewards.
    ///
    /// # Errors
    /// As for [`Session::open`].
    pub(crate) fn with_preferences(
        config: Config,
        resume: bool,
        preferences: Vec<ActiveOptions>,
    ) -> Result<Self, TrainError> {
        let options = preferences.clone();
        let reward = move |base: &Base, checkpoint: &Checkpoint| -> Result<Box<dyn Reward>, TrainError> {
            Ok(Box::new(MeanOfActive::configured(&options, base, checkpoint)?))
        };
        Self::build(config, resume, preferences, reward)
    }

    fn build(
        config: Config,
        resume: bool,
        preferences: Vec<ActiveOptions>,
        reward: impl FnOnce(&Base, &Checkpoint) -> Result<Box<dyn Reward>, TrainError>,
    ) -> Result<Self, TrainError> {
        let place = Place::open(config.model.device)?;
        let checkpoint = Checkpoint::open(&config.model.base).map_err(|error| TrainError::Base(error.to_string()))?;
        let checkpoint = Arc::new(checkpoint);
        let train = read(config.prompts.train.as_deref(), Split::Train)?;
        let fingerprint = fingerprint(&config, &preferences, checkpoint.sha256())?;
        let preferences = Preferences::new(preferences);
        let longest = config.prompts.max_prompt_tokens + config.generation.output_max_length;
        let longest = longest + preferences.longest(&checkpoint)?;
        let base = load_base_at(&place, &checkpoint, longest)?;
        let reward = reward(&base, &checkpoint)?;
        let prompts = prepare(&checkpoint, train, config.prompts.max_prompt_tokens)?;
        let computing = Computing { device: place.choice(), precision: Precision::F32 };
        let generator = Generator::start(checkpoint.clone(), base.geometry().positions, computing)?;
        let adapter = LoraAdapter::init(&base, config.lora.r, config.lora.lora_alpha, config.lora.a_seed)?;
        let value_head = ValueHead::zero(&base)?;
        let variables = adapter.variables().into_iter().chain(value_head.variables()).map(|(_, var)| var).collect();
        let adam = Adam::new(variables, config.ppo.learning_rate, config.ppo.max_grad_norm);
        let ppo = &config.ppo;
        let checkpointing = Checkpointing::chosen(ppo.gradient_checkpointing, base.geometry());
        let kl = AdaptiveKl {
            coef: ppo.init_kl_coef,
            target: ppo.target,
            horizon: ppo.horizon,
            gain: ppo.kl_gain,
            mean: 0.0,
        };
        let out = config.run.out.clone();
        std::fs::create_dir_all(&out).map_err(TrainError::io(&out))?;
        let policy = FreshPool::new(&out.join("rollout"), checkpoint.base_facts().identity());
        let mut session = Self {
            fingerprint,
            preferences,
            log: None,
            moments: RunningMoments::default(),
            step: 0,
            cpu_seconds: 0.0,
            config,
            checkpoint,
            generator,
            policy,
            base,
            prompts,
            adapter,
            value_head,
            adam,
            checkpointing,
            kl,
            reward,
        };
        if resume && out.join(CHECKPOINT).exists() {
            session.restore()?;
        } else if let Some(path) = session.config.run.start_from.clone() {
            session.take_over(&path)?;
        } else if let Some(warm) = session.config.warm_start.clone() {
            let used = process_seconds();
            session.begin_warm(&warm)?;
            session.cpu_seconds = process_seconds() - used;
            // Whatever ends the run in its first step, this is not done again.
            session.save()?;
        }
        Ok(session)
    }

    fn begin_warm(&self, warm: &WarmStart) -> Result<(), TrainError> {
        let longest = self.config.generation.output_max_length;
        let examples = warm.examples(&self.checkpoint, &self.base, self.reward.as_ref(), &self.prompts, longest)?;
        imitate(&self.base, &self.adapter, &examples, &warm.training, |done, all, loss| {
            tracing::info!(done, all, loss, "imitating");
        })
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The checkpoint of the base.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The engine that samples.
    pub fn generator(&self) -> &Generator {
        &self.generator
    }

    /// The policy as it is now, its update times `factor`, for the engine.
    ///
    /// # Errors
    /// Factors that are not finite, or a run's folder that cannot be written.
    pub fn policy(&self, factor: f64) -> Result<PooledSoup, TrainError> {
        self.policy.soup(&self.adapter, factor)
    }

    /// The frozen base.
    pub fn base(&self) -> &Base {
        &self.base
    }

    /// The policy as it is now.
    pub fn adapter(&self) -> &LoraAdapter {
        &self.adapter
    }

    /// Which minibatches are trained with gradient checkpointing.
    pub fn checkpointing(&self) -> Checkpointing {
        self.checkpointing
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Processor time of all steps done and of the warm start, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_seconds
    }

    /// Whether all steps are done.
    pub fn is_finished(&self) -> bool {
        self.step >= self.config.ppo.steps
    }

    fn variables(&self) -> Vec<(String, candle_core::Var)> {
        self.adapter.variables().into_iter().chain(self.value_head.variables()).collect()
    }

    fn restore(&mut self) -> Result<(), TrainError> {
        let out = &self.config.run.out;
        let (adam, progress) = load(&out.join(CHECKPOINT), &self.variables())?;
        if progress.fingerprint != self.fingerprint {
            let message = format!("{}: made with another configuration or base; use another folder", out.display());
            return Err(TrainError::Invalid(message));
        }
        self.adam.state = adam;
        (self.kl.coef, self.kl.mean) = progress.kl();
        self.moments = progress.moments();
        self.step = progress.step;
        self.cpu_seconds = progress.seconds as f64;
        Ok(())
    }

    /// Starts where a run with other settings was, with its log up to there.
    fn take_over(&mut self, path: &Path) -> Result<(), TrainError> {
        let (adam, progress) = load(path, &self.variables())?;
        self.adam.state = adam;
        self.kl.mean = progress.kl().1;
        self.moments = progress.moments();
        self.step = progress.step;
        self.cpu_seconds = progress.seconds as f64;
        // Behind a warm start nothing is logged yet.
        for name in ["metrics.jsonl", "samples.jsonl"].into_iter().filter(|_| self.step > 0) {
            let (old, new) = (path.with_file_name(name), self.config.run.out.join(name));
            std::fs::copy(&old, &new).map_err(TrainError::io(&old))?;
        }
        Ok(())
    }

    /// Writes the checkpoint, and a copy that is kept under the step's number.
    ///
    /// # Errors
    /// A full disk and the like; the last checkpoint stays as it is.
    pub fn save(&self) -> Result<(), TrainError> {
        let updates = self.adam.state.updates;
        let mut progress = Progress::new(self.step, &self.kl, &self.moments, updates, &self.fingerprint);
        progress.seconds = self.cpu_seconds as u64;
        let out = &self.config.run.out;
        let kept = out.join(format!("checkpoint-{:05}.safetensors", self.step));
        // The one that a resumed run reads comes first: where there is room for one file, it is that one.
        for path in [out.join(CHECKPOINT), kept] {
            save(&path, &self.variables(), &self.adam.state, &progress)?;
        }
        Ok(())
    }

    /// Reads the adapter of a checkpoint file of this run.
    ///
    /// # Errors
    /// A file that is no checkpoint of a run of this shape.
    pub fn load_adapter(&mut self, path: &Path) -> Result<u64, TrainError> {
        Ok(load(path, &self.variables())?.1.step)
    }

    /// Does one step: sample, score, estimate advantages, update. The metrics are logged and returned.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, or files that cannot be written. The step is then not counted.
    pub fn step(&mut self) -> Result<StepMetrics, TrainError> {
        let (start, used) = (Instant::now(), process_seconds());
        let step = self.step + 1;
        let samples = self.rollout(step)?;
        let rollout_seconds = start.elapsed().as_secs_f64();
        let scores: Vec<f64> = samples.iter().map(|sample| sample.scored.score).collect();
        self.moments.update(&scores);
        let normalised: Vec<f64> = scores.iter().map(|&score| self.moments.normalise(score)).collect();
        let old_values: candle_core::Result<Vec<_>> =
            samples.iter().map(|sample| self.value_head.values(&sample.hidden)).collect();
        let beta = self.kl.beta();
        let targets = Targets::of(&samples, &normalised, old_values?, beta, &self.config.ppo);
        let mut learner = Learner {
            base: &self.base,
            adapter: &self.adapter,
            value_head: &self.value_head,
            adam: &mut self.adam,
            checkpointing: self.checkpointing,
        };
        let updates = learner.run(&samples, &targets, &self.config.ppo, step)?;
        let mut metrics = summary(&samples, &updates);
        self.kl.update(metrics.kl, samples.len());
        self.step = step;
        metrics.step = step;
        metrics.kl_coef = beta;
        metrics.rollout_seconds = rollout_seconds;
        metrics.seconds = start.elapsed().as_secs_f64();
        metrics.cpu_seconds = process_seconds() - used;
        self.cpu_seconds += metrics.cpu_seconds;
        let log = match self.log.take() {
            Some(log) => log,
            None => MetricsLog::resume(&self.config.run.out.join("metrics.jsonl"), step - 1)?,
        };
        log.append(&metrics)?;
        log.show(step, &samples)?;
        self.log = Some(log);
        Ok(metrics)
    }

    fn rollout(&self, step: u64) -> Result<Vec<Sample>, TrainError> {
        let ppo = &self.config.ppo;
        let generation = &self.config.generation;
        let span = generation.output_max_length - generation.output_min_length + 1;
        // Every length comes up equally often, in an order that needs no state.
        let max_new_tokens = generation.output_min_length + (step as usize * 7) % span;
        let soup = self.policy(1.0)?;
        let mut answered = Vec::with_capacity(ppo.batch_size);
        let mut orders = Vec::with_capacity(ppo.batch_size);
        for (row, index) in batch(step, ppo.batch_size, self.prompts.len(), ppo.seed).into_iter().enumerate() {
            let prompt = self.prompts[index].clone();
            let active = self.preferences.draw(ppo.seed, step, row);
            let asked = match self.preferences.instructions(&active).as_slice() {
                [] => prompt.tokens.clone(),
                instructions => chat_tokens(&self.checkpoint, &instructed(&prompt.turns, instructions))?,
            };
            let sampling = Sampling::plain(max_new_tokens, answer_seed(&[ppo.seed, step, row as u64]));
            orders.push(Order { prompt: asked.clone(), soup: soup.clone(), sampling });
            answered.push(Answered { prompt, asked, active, response: Response::default() });
        }
        for (answered, response) in answered.iter_mut().zip(self.generator.answer(&orders)?) {
            answered.response = response;
        }
        let decode = |tokens: &[u32]| self.checkpoint.tokenizer().decode(tokens);
        Ok(judge(&self.base, &self.adapter.detached(), self.reward.as_ref(), decode, answered)?)
    }
}

/// The prompts of a step: each pass over all of them is shuffled anew from seed and pass.
fn batch(step: u64, size: usize, count: usize, seed: u64) -> Vec<usize> {
    let first = (step - 1) as usize * size;
    let order = |pass: usize| {
        let mut order: Vec<usize> = (0..count).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::MAX - pass as u64);
        order.shuffle(&mut rng);
        order
    };
    (first..first + size).map(|index| order(index / count)[index % count]).collect()
}

fn fingerprint(config: &Config, preferences: &[ActiveOptions], base: &str) -> Result<String, TrainError> {
    let mut config = config.clone();
    // A run may be moved, prolonged or saved more often, and gradients do not depend on what is kept for them.
    config.run.out = Default::default();
    config.run.save_freq = 1;
    config.run.start_from = None;
    config.model.base = Default::default();
    config.ppo.steps = 1;
    config.ppo.gradient_checkpointing = None;
    config.warm_start.iter_mut().for_each(|warm| warm.training.gradient_checkpointing = None);
    let json = serde_json::to_string(&config).map_err(|error| TrainError::Invalid(error.to_string()))?;
    let mut all = format!("{base}\n{json}");
    if !preferences.is_empty() {
        all += &serde_json::to_string(preferences).map_err(|error| TrainError::Invalid(error.to_string()))?;
    }
    let digest = Sha256::digest(all);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn summary(samples: &[Sample], updates: &Updates) -> StepMetrics {
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / samples.len() as f64;
    let scores = mean(&|sample| sample.scored.score);
    StepMetrics {
        step: 0,
        kl: mean(&Sample::kl),
        kl_coef: 0.0,
        entropy: mean(&|sample| -sample.log_probs.iter().sum::<f64>()),
        scores,
        scores_std: mean(&|sample| (sample.scored.score - scores).powi(2)).sqrt(),
        measure: mean(&|sample| sample.scored.measure),
        gate: mean(&|sample| sample.scored.gate),
        base_nll: mean(&Sample::base_nll),
        policy_loss: updates.mean(|outcome| outcome.policy_loss),
        value_loss: updates.mean(|outcome| outcome.value_loss),
        clip_fraction: updates.mean(|outcome| outcome.clip_fraction),
        approx_kl: updates.mean(|outcome| outcome.approx_kl),
        policy_kl: updates.mean(|outcome| outcome.policy_kl),
        first_ratio_deviation: updates.outcomes.first().map_or(0.0, |outcome| outcome.ratio_deviation),
        rollout_deviation: samples.iter().map(Sample::engine_deviation).fold(0.0, f64::max),
        value_clip_fraction: updates.mean(|outcome| outcome.value_clip_fraction),
        grad_norm: updates.grad_norms.iter().sum::<f64>() / updates.grad_norms.len().max(1) as f64,
        early_stop: updates.stopped_early,
        response_length: mean(&|sample| sample.response.tokens.len() as f64),
        ended: mean(&|sample| f64::from(u8::from(sample.response.ended))),
        seconds: 0.0,
        cpu_seconds: 0.0,
        rollout_seconds: 0.0,
    }
}
