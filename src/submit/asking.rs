//! One request on its way to the engine: rules and checks decide about it, in this order.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tureen_engine::{PathChoice, SamplingParams, Submission};
use tureen_soup::rules::{Breach, Ruled, RulesError};
use tureen_soup::{MergeOptions, Pool, Preference, Soup};

use super::{params, preference_error, rules_error, submit_error, tokenise};
use crate::app::App;
use crate::audit::{Begun, ParametersRecord, Undecided, prompt_text};
use crate::auth::Caller;
use crate::explain::Explain;
use crate::guard::{Holder, Screen, check_input};
use crate::learning::Keeping;
use crate::live::{Counts, Live};
use crate::order::Order;
use crate::problem::ApiError;
use crate::request_id::RequestId;
use crate::rollout::{Route, Watch};
use crate::wire::answer::SoupView;

/// A request, and which revision serves it.
pub(super) struct Asking<'a> {
    pub(super) app: &'a App,
    pub(super) caller: &'a Caller,
    pub(super) id: &'a RequestId,
    /// Where the request says what it wants.
    pub(super) field: &'static str,
    pub(super) wanted: (Preference, MergeOptions),
    pub(super) route: Route,
}

impl Asking<'_> {
    /// The soup that was asked for.
    pub(super) fn asked(&self, pool: &Pool) -> Result<Soup, ApiError> {
        let (preference, merge) = &self.wanted;
        pool.soup(preference, merge).map_err(|e| preference_error(&e, self.field))
    }

    /// What the caller's rules leave of it.
    fn ruled(&self, pool: &Pool, asked: &Soup) -> Result<Ruled, RulesError> {
        self.caller.rules().apply(pool, asked.clone())
    }

    /// The soup that `pool` would serve.
    fn soup(&self, pool: &Pool) -> Option<Soup> {
        let asked = self.asked(pool).ok()?;
        self.ruled(pool, &asked).ok().map(|ruled| ruled.soup)
    }

    /// Counts a refusal against the candidate, if the stable revision would not refuse.
    pub(super) fn blame(&self, watch: &Watch) {
        if self.route.is_candidate() && self.soup(&self.app.engine.pool()).is_some() {
            watch.refused();
        }
    }

    /// The generation that serves `asked`, as far as rules and checks let it. What they decide is in `undecided`, and in
    /// the record of the generation when it begins.
    pub(super) async fn begin(
        &self,
        mut order: Order,
        asked: Soup,
        watch: Watch,
        undecided: &mut Option<Undecided>,
    ) -> Result<Live, ApiError> {
        let Self { app, caller, id, field, route, .. } = self;
        let pool = route.pool.clone();
        let ruled = self.ruled(&pool, &asked).map_err(|error| {
            self.blame(&watch);
            if let Some(undecided) = undecided {
                undecided.ruled(&error.codes());
            }
            rules_error(&error, field)
        })?;
        if let Some(undecided) = undecided {
            undecided.ruled(&ruled.breaches.iter().map(Breach::code).collect::<Vec<_>>());
        }
        let soup = Arc::new(ruled.soup.clone());
        let (checked, passed) = check_input(app, pool.drift(&soup), &mut order.messages).await;
        if let Some(undecided) = undecided {
            undecided.checked(&checked.decisions);
        }
        passed?;
        let holder = Holder::new(app, caller, id, &order);
        let (prompt, order) = tokenise(app.engine.clone(), order).await?;
        let keep = Keeping::begin(app, caller, id, &order, &prompt);
        let prompt_tokens = prompt.len();
        let params = params(&app.config, app.engine.checkpoint(), prompt_tokens, order.sampling)?;
        let parameters = ParametersRecord::from(&params);
        if let Some(holder) = &holder {
            holder.admit(&checked, &soup.id().to_string()).await?;
        }
        let counts = Counts { prompt_tokens, generated_tokens: 0, seed: params.seed };
        let explain = order.explain.then(|| explain(app, &pool, &prompt, &params)).transpose()?;
        let (client, path) = (turns_of(caller), PathChoice::Auto);
        let submission = Submission { prompt, pool: pool.clone(), soup: soup.clone(), path, client, params };
        let shadow = app.rollout.shadow(route).map(|shadow| (shadow, submission.clone()));
        let retry_after_s = app.config.limits.retry_after_s;
        let generation = app.engine.submit(submission).map_err(|e| submit_error(&e, retry_after_s))?;
        let path = generation.path();
        let view = SoupView::new(&pool, &soup, path).asked(&pool, &asked, &ruled.breaches);
        let record = undecided.take().map(|undecided| {
            let begun = Begun { app, pool: &pool, ruled: &ruled, path, prompt_tokens, parameters };
            undecided.pass(begun, prompt_text(&order.messages))
        });
        app.metrics.served_on(path);
        if let Some((shadow, submission)) = shadow {
            let candidate = shadow.running().pool().clone();
            let soup = self.soup(&candidate).map(Arc::new);
            shadow.cast(app, soup.map(|soup| Submission { pool: candidate, soup, ..submission }));
        }
        let time = (app.config.server.request_timeout, app.lifecycle.cut_signal());
        let live = Live::new(generation, view, counts, time, watch);
        Ok(live.recorded(record).explained(explain).kept(keep).screened(Screen::new(&app.config, holder)))
    }
}

/// Will explain an answer, unless that could cost more than it may.
fn explain(app: &App, pool: &Arc<Pool>, prompt: &[u32], params: &SamplingParams) -> Result<Explain, ApiError> {
    let most = app.config.limits.max_explain_tokens;
    let each = prompt.len() + params.max_new_tokens;
    let (rows, tokens) = (pool.policies().len() + 1, (pool.policies().len() + 1).saturating_mul(each));
    if tokens > most {
        let detail = format!(
            "prompt and answer are up to {each} tokens, read {rows} times: over {most} (limits.max_explain_tokens); ask \
             for fewer new tokens"
        );
        return Err(ApiError::invalid("explain_too_large", "explain", detail));
    }
    Ok(Explain::new(app.engine.clone(), pool.clone(), prompt.to_vec()))
}

/// As whom the engine lets this caller take turns: however many keys an owner has, they share its turns.
fn turns_of(caller: &Caller) -> u64 {
    let mut hasher = DefaultHasher::new();
    caller.owner().hash(&mut hasher);
    hasher.finish()
}
