//! From answers to what each policy gains by them.

use axum::http::StatusCode;
use tureen_engine::{GenerationError, SubmitError, Text};
use tureen_soup::learn::{Learning, Taste};

use super::{Said, names};
use crate::app::App;
use crate::explain::poles;
use crate::problem::ApiError;
use crate::store::{Pair, Words};

/// What somebody said about answers.
#[derive(Debug)]
pub enum Lesson {
    /// The first rather than the second.
    Choice(Said, Said),
    /// How good it is, from 0 to 1; as good as the base's is 0.5.
    Rating(Said, f64),
}

impl Lesson {
    /// The choice as a pair for training. `None` for ratings, for texts that are not known, and where there is nothing to
    /// choose: answers to two prompts, the same answer twice, or an empty one.
    pub fn pair(&self) -> Option<Pair> {
        let Self::Choice(chosen, rejected) = self else { return None };
        let (chosen, rejected) = (chosen.words.as_ref()?, rejected.words.as_ref()?);
        let says = |words: &Words| !words.answer.trim().is_empty();
        let fits =
            chosen.prompt == rejected.prompt && chosen.answer != rejected.answer && says(chosen) && says(rejected);
        let answers = (chosen.answer.clone(), rejected.answer.clone());
        fits.then(|| Pair { prompt: rejected.prompt.clone(), chosen: answers.0, rejected: answers.1 })
    }
}

/// A lesson, scored.
#[derive(Debug)]
pub struct Judged {
    /// Names of the policies.
    pub policies: Vec<String>,
    /// What each gains, in nats: `r_i(chosen) − r_i(rejected)`, or `r_i` of what was rated.
    pub gains: Vec<f64>,
    /// 1 is a clear choice.
    pub preferred: f64,
}

impl Judged {
    /// Teaches `taste`.
    pub fn teach(&self, taste: &mut Taste, learning: &Learning) {
        taste.learn(&self.gains, self.preferred, learning);
    }
}

/// Scores the answers under the base and every policy; the rows of one answer are one batch.
///
/// # Errors
/// 422 when there is nothing to learn with this pool, or too much to read; 503 without room.
pub async fn judge(app: &App, lesson: Lesson) -> Result<Judged, ApiError> {
    let pool = app.engine.pool();
    let policies = names(&pool).ok_or_else(|| {
        ApiError::invalid("nothing_to_learn", "user", "preferences are learned over pools of 2 to 64 policies")
    })?;
    let soups = poles(&pool);
    let rewards = async |Said { prompt, answer, .. }: Said| {
        let most = app.config.limits.max_explain_tokens;
        if soups.len().saturating_mul(prompt.len() + answer.len()) > most {
            let detail = format!("prompt and answer, read {} times, are over {most} tokens", soups.len());
            return Err(ApiError::invalid("feedback_too_large", "user", detail));
        }
        let text = Text { prompt, answer, pool: pool.clone(), soups: soups.clone() };
        let scores = app.engine.score(text).await.map_err(|e| not_scored(app, &e))?;
        let sum = |scores: &Vec<f32>| scores.iter().map(|score| f64::from(*score)).sum::<f64>();
        let totals: Vec<Option<f64>> = scores.iter().map(|scores| scores.as_ref().map(sum)).collect();
        let base = totals.first().copied().flatten().unwrap_or_default();
        // Policies without a gate are not known to gain or lose.
        Ok(totals.into_iter().skip(1).map(|total| total.map_or(0.0, |total| total - base)).collect::<Vec<f64>>())
    };
    let (gains, preferred) = match lesson {
        Lesson::Rating(answer, rating) => (rewards(answer).await?, rating),
        Lesson::Choice(chosen, rejected) => {
            let (chosen, rejected) = (rewards(chosen).await?, rewards(rejected).await?);
            (chosen.iter().zip(&rejected).map(|(chosen, rejected)| chosen - rejected).collect(), 1.0)
        }
    };
    Ok(Judged { policies, gains, preferred })
}

fn not_scored(app: &App, error: &GenerationError) -> ApiError {
    match error {
        GenerationError::Refused(SubmitError::QueueFull | SubmitError::OutOfMemory { .. }) => ApiError::busy(
            "feedback_no_room",
            "there is no room to read the answers now",
            app.config.limits.retry_after_s,
        ),
        GenerationError::Refused(SubmitError::PromptTooLong { .. }) => {
            ApiError::invalid("prompt_too_long", "user", error.to_string())
        }
        GenerationError::ShuttingDown | GenerationError::Refused(SubmitError::ShuttingDown) => {
            ApiError::shutting_down()
        }
        other => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, other.code(), other.to_string()),
    }
}
