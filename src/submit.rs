//! From a validated order to a running generation. Every refusal is decided here, before a header is sent.

mod asking;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use tureen_engine::{Checkpoint, Engine, GenerationError, SamplingParams, SubmitError};
use tureen_soup::rules::RulesError;
use tureen_soup::{MergeOptions, Preference, PreferenceError};

use crate::app::App;
use crate::audit::{Request, Undecided};
use crate::auth::Caller;
use crate::config::Config;
use crate::extract::{profiles, unknown_user};
use crate::live::Live;
use crate::order::{Order, Sampling, Wish};
use crate::problem::ApiError;
use crate::request_id::RequestId;
use crate::rollout::Subject;
use crate::wire::answer::SoupView;
use asking::Asking;

/// `x-soup-id`
pub const SOUP_ID: HeaderName = HeaderName::from_static("x-soup-id");

/// Resolves, tokenises and submits `order`, which `caller` sent.
///
/// # Errors
/// 4xx for what the order cannot have, 503 for what we cannot give now.
pub async fn submit(app: &App, caller: &Caller, id: &RequestId, order: Order) -> Result<Live, ApiError> {
    let result = try_submit(app, caller, id, order).await;
    if let Err(error) = &result {
        app.metrics.refused(error.code);
    }
    result
}

async fn try_submit(app: &App, caller: &Caller, id: &RequestId, order: Order) -> Result<Live, ApiError> {
    if app.lifecycle.is_draining() {
        return Err(ApiError::shutting_down());
    }
    let field = match &order.wish {
        Wish::Inline { .. } => "preference",
        Wish::Profile { .. } => "user",
    };
    let wanted = wished(app, caller, &order.wish).await?;
    // One snapshot for everything: a reload in between must not mix two revisions.
    let route = app.rollout.route(&app.engine, &Subject::new(caller, &order.wish));
    let watch = app.rollout.watch(&route);
    let asking = Asking { app, caller, id, field, wanted, route };
    let asked = asking.asked(&asking.route.pool).inspect_err(|_| asking.blame(&watch))?;
    let request = Request { id, caller, wish: &order.wish, pool: &asking.route.pool, asked: &asked };
    // From here on something is decided.
    let mut undecided = app.audit.as_ref().map(|audit| Undecided::begin(audit, &request)).transpose()?;
    let live = asking.begin(order, asked, watch, &mut undecided).await;
    if let (Err(error), Some(undecided)) = (&live, undecided) {
        undecided.refuse(error).await?;
    }
    live
}

/// The preference itself. A profile that was changed since it was stored is used as it is now.
async fn wished(app: &App, caller: &Caller, wish: &Wish) -> Result<(Preference, MergeOptions), ApiError> {
    match wish {
        Wish::Inline { preference, merge } => Ok((preference.clone(), merge.clone())),
        Wish::Profile { user, merge } => {
            let (found, source) = profiles(app)?.get(caller.owner(), user).await?;
            app.metrics.profile_looked_up(source);
            let profile = found.ok_or_else(|| unknown_user().at("user"))?;
            let merge = merge.clone().unwrap_or_else(|| profile.draft.merge.clone());
            Ok((profile.draft.preference.clone(), merge))
        }
    }
}

/// Chat template and tokeniser, off the async threads: a prompt may be a megabyte.
async fn tokenise(engine: Engine, order: Order) -> Result<(Vec<u32>, Order), ApiError> {
    let work = move || prompt_tokens(&engine, &order).map(|tokens| (tokens, order));
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::of_status(StatusCode::INTERNAL_SERVER_ERROR))?
}

/// The tokens of a conversation, with the header of the answer to come.
pub(crate) fn prompt_tokens(engine: &Engine, order: &Order) -> Result<Vec<u32>, ApiError> {
    let checkpoint = engine.checkpoint();
    let (text, add_special) = match (checkpoint.chat_template(), &order.messages[..]) {
        (Some(template), messages) => {
            let refused = |e: &dyn std::fmt::Display| {
                ApiError::invalid("chat_template_refused", "messages", format!("the model's chat template: {e}"))
            };
            (template.render(messages, true).map_err(|e| refused(&e))?, false)
        }
        // A model without a template continues the text as it is.
        (None, [only]) => (only.content.clone(), true),
        (None, _) => {
            let detail = "this base has no chat template: send one message, or `inputs`";
            return Err(ApiError::invalid("no_chat_template", "messages", detail));
        }
    };
    checkpoint
        .tokenizer()
        .encode(&text, add_special)
        .map_err(|e| ApiError::invalid("prompt_not_tokenised", "inputs", format!("the prompt: {e}")))
}

/// What the engine gets: the parameters, fitted to the room that the prompt leaves in the context.
pub(crate) fn params(
    config: &Config,
    base: &Checkpoint,
    prompt_tokens: usize,
    sampling: Sampling,
) -> Result<SamplingParams, ApiError> {
    let limits = &config.limits;
    let context = limits.max_context_tokens.min(base.config().max_position_embeddings);
    let vocabulary = base.config().vocab_size;
    let room = context.saturating_sub(prompt_tokens);
    if room == 0 {
        let detail = format!("the prompt has {prompt_tokens} tokens, the context holds {context} with the answer");
        return Err(ApiError::invalid("prompt_too_long", "inputs", detail));
    }
    let max_new_tokens = match sampling.max_new_tokens {
        None => limits.default_new_tokens.min(room),
        Some(wanted) if wanted <= room => wanted,
        Some(wanted) => {
            let detail =
                format!("{prompt_tokens} prompt tokens and {wanted} new ones are over the context of {context}");
            return Err(ApiError::invalid("context_exceeded", "max_new_tokens", detail));
        }
    };
    if let Some((id, _)) = sampling.logit_bias.iter().find(|(id, _)| *id as usize >= vocabulary) {
        let detail = format!("token {id} does not exist: the vocabulary has {vocabulary}");
        return Err(ApiError::invalid("invalid_field", "logit_bias", detail));
    }
    Ok(SamplingParams {
        max_new_tokens,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        min_p: sampling.min_p,
        repetition_penalty: sampling.repetition_penalty,
        // 32 bits: the seed is told in JSON, and must come back unharmed from clients that read numbers as doubles.
        seed: sampling.seed.unwrap_or_else(|| rand::random::<u32>().into()),
        stop: sampling.stop,
        ignore_eos: sampling.ignore_eos,
        logit_bias: sampling.logit_bias,
    })
}

/// The header that names the soup.
pub fn soup_header(soup: &SoupView) -> HeaderValue {
    HeaderValue::from_str(&soup.id).expect("a soup id is hex digits after s-")
}

/// A preference that cannot be had, named in `field`.
pub(crate) fn preference_error(error: &PreferenceError, field: &str) -> ApiError {
    ApiError::invalid(error.code(), field, error.to_string())
}

/// A preference that the rules do not allow.
fn rules_error(error: &RulesError, field: &str) -> ApiError {
    match error {
        RulesError::Broken(breaches) => {
            let problems: Vec<_> = breaches.iter().map(ToString::to_string).collect();
            let detail = format!("the rules of this server or key do not allow it: {}", problems.join("; "));
            ApiError { problems, ..ApiError::invalid(error.codes()[0], field, detail) }
        }
        RulesError::Preference(error) => preference_error(error, field),
        other => ApiError::invalid("rules_unsatisfiable", field, other.to_string()),
    }
}

fn submit_error(error: &SubmitError, retry_after_s: u64) -> ApiError {
    match error {
        SubmitError::QueueFull => ApiError::busy("queue_full", "too many requests are waiting", retry_after_s),
        // It would not fit if it were alone: waiting does not help, so this is not 503.
        SubmitError::OutOfMemory { .. } => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "out_of_memory", format!("{error}: ask for fewer tokens"))
        }
        SubmitError::PromptTooLong { .. } => ApiError::invalid("prompt_too_long", "inputs", error.to_string()),
        SubmitError::UnknownToken { .. } => ApiError::invalid("prompt_not_tokenised", "inputs", error.to_string()),
        SubmitError::DeviceFailed(_) => {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "device_failed", error.to_string())
        }
        SubmitError::ShuttingDown => ApiError::shutting_down(),
    }
}

/// A generation that broke off, for the outside.
pub(crate) fn generation_error(error: &GenerationError) -> ApiError {
    match error {
        GenerationError::ShuttingDown => ApiError::shutting_down(),
        other => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, other.code(), other.to_string()),
    }
}
