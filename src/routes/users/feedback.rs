//! `POST /users/{id}/feedback`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tureen_engine::Message;
use tureen_soup::Preference;
use tureen_soup::learn::{Learning, Taste};

use crate::app::App;
use crate::extract::{Target, Valid};
use crate::learning::{Found, Judged, Lesson, Said, judge, taste};
use crate::order::{Order, Sampling, Wish};
use crate::problem::ApiError;
use crate::store::{Draft, Edit, Outcome, Profile, Words};
use crate::submit::prompt_tokens;
use crate::wire::feedback::{AnswerName, Feedback, FeedbackRequest, FeedbackView, MovedView, Opinion};
use crate::wire::problem::Problem;

/// Weights below this are noise of the arithmetic.
const LEAST: f64 = 1e-6;

/// Learn from what a user thinks of answers
///
/// A choice between two answers, a rating, or an edited answer changes what is known of the user's preference, and with it the
/// profile. The answer explains what moved and why.
#[utoipa::path(
    post,
    path = "/users/{id}/feedback",
    tag = "people",
    params(
        ("id" = String, Path, description = "The user"),
        ("If-Match" = Option<String>, Header, description = "Only if the profile still has this ETag"),
        ("Idempotency-Key" = Option<String>, Header, description = "Sent again with the same key, it is learned once"),
    ),
    request_body = FeedbackRequest,
    responses(
        (status = 200, description = "Learned", body = FeedbackView),
        (status = 404, description = "No answer of the last hour has this request id", body = Problem,
            content_type = "application/problem+json"),
        (status = 412, description = "The profile is not the one you know", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "A value cannot be used; `field` names it", body = Problem,
            content_type = "application/problem+json"),
        (status = 503, description = "No room now, or the store does not answer", body = Problem,
            content_type = "application/problem+json"),
    )
)]
pub(in crate::routes) async fn feedback(
    State(app): State<App>,
    target: Target,
    Valid(feedback): Valid<FeedbackRequest>,
) -> Result<Json<FeedbackView>, ApiError> {
    let what = format!("feedback {feedback:?}");
    let lesson = lesson(&app, &target.owner, feedback).await?;
    // Read before it is judged, kept with what was learned.
    let pair = lesson.pair().filter(|_| app.config.learning.keeps_pairs());
    let judged = judge(&app, lesson).await?;
    let learning = &app.config.learning.model;
    let decide = |current: Option<&Profile>| {
        let (_, after) = learned(current, &judged, learning);
        let preference = preference(&after);
        let merge = current.map(|profile| profile.draft.merge.clone()).unwrap_or_default();
        Ok(Edit::Put(Draft { preference, merge, learned: Some(after) }))
    };
    // Read first: what the choice changed is told, and a change in between only makes that a little older.
    let (current, _) = target.profiles.get(&target.owner, &target.user).await?;
    let (before, _) = learned(current.as_deref(), &judged, learning);
    let done = target.change_leaving(pair.as_ref(), what, decide).await?;
    match done.outcome {
        Outcome::Created(profile) | Outcome::Updated(profile) => {
            // Learned when it was sent before: now it moves nothing.
            let before = profile.draft.learned.clone().filter(|_| done.replayed).unwrap_or(before);
            Ok(Json(view(&target, &judged, &before, &profile, learning)))
        }
        Outcome::Deleted => Err(ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

fn learned(current: Option<&Profile>, judged: &Judged, learning: &Learning) -> (Taste, Taste) {
    let before = taste(current.map(|profile| &profile.draft), &judged.policies, learning);
    let mut after = before.clone();
    judged.teach(&mut after, learning);
    (before, after)
}

fn preference(taste: &Taste) -> Preference {
    let belief = taste.belief();
    let named = taste.policies().iter().cloned().zip(belief.weights().iter().copied());
    Preference::from_pairs(named.filter(|(_, weight)| *weight > LEAST)).expect("weights are finite and at least 0")
}

async fn lesson(app: &App, owner: &Arc<str>, feedback: Feedback) -> Result<Lesson, ApiError> {
    let Feedback { messages, opinion } = feedback;
    let prompt = match messages {
        Some(messages) => Some(Prompt { tokens: tokens(app, messages.clone()).await?, messages }),
        None => None,
    };
    let said = async |field: &str, name: AnswerName| said(app, owner, prompt.as_ref(), field, name).await;
    match opinion {
        Opinion::Choice(chosen, rejected) => {
            Ok(Lesson::Choice(said("chosen", chosen).await?, said("rejected", rejected).await?))
        }
        Opinion::Rating(answer, rating) => Ok(Lesson::Rating(said("answer", answer).await?, rating)),
        Opinion::Edit(answer, edited) => {
            let rejected = said("answer", answer).await?;
            let answer = encode(app, "edited", &edited)?;
            let words = rejected.words.clone().map(|words| Words { answer: edited, ..words });
            Ok(Lesson::Choice(Said { prompt: rejected.prompt.clone(), answer, words, user: None }, rejected))
        }
    }
}

/// What answers that are texts answer.
struct Prompt {
    tokens: Vec<u32>,
    messages: Vec<Message>,
}

async fn said(
    app: &App,
    owner: &Arc<str>,
    prompt: Option<&Prompt>,
    field: &str,
    name: AnswerName,
) -> Result<Said, ApiError> {
    match (name, prompt) {
        (AnswerName::RequestId(id), _) => match app.recent.find(owner, &id).await? {
            Some(Found::Said(said)) => Ok((*said).clone()),
            Some(Found::Words(words)) => {
                let (prompt, answer) = (tokens(app, words.prompt.clone()).await?, encode(app, field, &words.answer)?);
                Ok(Said { prompt, answer, words: Some(words), user: None })
            }
            None => {
                let detail = "there is no answer of the last hour to a request of this id; send the text";
                Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_answer", detail).at(field))
            }
        },
        (AnswerName::Text(text), Some(prompt)) => {
            let (answer, prompt_words) = (encode(app, field, &text)?, prompt.messages.clone());
            let words = Some(Words { prompt: prompt_words, answer: text });
            Ok(Said { prompt: prompt.tokens.clone(), answer, words, user: None })
        }
        (AnswerName::Text(_), None) => {
            Err(ApiError::invalid("invalid_field", "inputs", "texts are answers to a prompt: send inputs or messages"))
        }
    }
}

fn encode(app: &App, field: &str, text: &str) -> Result<Vec<u32>, ApiError> {
    let encoded = app.engine.checkpoint().tokenizer().encode(text, false);
    let tokens = encoded.map_err(|e| ApiError::invalid("invalid_field", field, format!("the text: {e}")))?;
    if tokens.is_empty() {
        return Err(ApiError::invalid("invalid_field", field, "the text is empty"));
    }
    Ok(tokens)
}

async fn tokens(app: &App, messages: Vec<Message>) -> Result<Vec<u32>, ApiError> {
    let engine = app.engine.clone();
    let wish = Wish::Inline { preference: Preference::default(), merge: Default::default() };
    let order = Order { messages, wish, sampling: Sampling::default(), explain: false };
    let work = tokio::task::spawn_blocking(move || prompt_tokens(&engine, &order));
    work.await.map_err(|_| ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR))?
}

fn view(target: &Target, judged: &Judged, before: &Taste, profile: &Profile, learning: &Learning) -> FeedbackView {
    let after = profile.draft.learned.as_ref().unwrap_or(before);
    let (old, new) = (before.belief(), after.belief());
    let deviations = new.deviations();
    let moved: BTreeMap<String, MovedView> = (0..judged.policies.len())
        .map(|i| {
            let (before, after, gain) = (old.weights()[i], new.weights()[i], judged.gains[i]);
            let moved = MovedView { before, after, deviation: deviations[i], gain };
            (judged.policies[i].clone(), moved)
        })
        .collect();
    let probability = old.probability(&judged.gains, learning);
    FeedbackView {
        user: target.user.as_str().to_owned(),
        preference: profile.draft.preference.clone(),
        choices: after.choices(),
        expected: if judged.preferred >= 0.5 { probability } else { 1.0 - probability },
        summary: summary(&moved),
        moved,
        etag: profile.etag.clone(),
    }
}

fn summary(moved: &BTreeMap<String, MovedView>) -> String {
    let largest =
        moved.iter().max_by(|(_, a), (_, b)| (a.after - a.before).abs().total_cmp(&(b.after - b.before).abs()));
    match largest {
        Some((name, m)) if (m.after - m.before).abs() > LEAST => {
            let (before, after, gain) = (m.before, m.after, m.gain);
            let wants = if gain >= 0.0 { "wants" } else { "does not want" };
            format!("{name} went from {before:.2} to {after:.2}: it {wants} what was preferred, by {gain:.1} nats")
        }
        _ => "nothing moved: the policies see no difference, or it was known".to_owned(),
    }
}
