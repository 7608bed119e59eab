//! `tureen audit replay`: one answer again, bit for bit.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use tureen_engine::{DeviceChoice, Event as EngineEvent, Isa, Message, PathChoice, Precision, Submission};
use tureen_soup::{MergeOptions, Pool, Preference};

use crate::audit::{EngineRecord, Event, GenerationRecord, Keys, Record, Scope, add_token, prompt_text};
use crate::cli::AuditReplay;
use crate::config::Config;
use crate::exit::Failure;
use crate::order::{Order, Sampling, Wish};
use crate::wire::chat::{OpenAiMessage, plain};
use crate::wire::generate::ChatMessage;
use crate::{startup, submit};

/// Where a line names its request, at the latest.
const HEAD: usize = 256;

/// Generates what the record says from the prompt, and compares every token and log-probability.
///
/// # Errors
/// 65 when the log was changed or the answer is another one, 64 when there is no such record or it had another prompt,
/// 70 and 78 when this machine or pool is not the one that answered.
pub fn run(config: &Config, args: AuditReplay) -> Result<(), Failure> {
    let record = find(config, &args.id)?;
    let keys = Keys::open(&config.audit).map_err(Failure::config)?;
    let messages = messages(&args.prompt_file)?;
    if keys.fingerprint(prompt_text(&messages).as_bytes()) != record.prompt_fingerprint {
        return Err(Failure::Usage(format!("{} is not the prompt of this request", args.prompt_file.display())));
    }
    let (text, fingerprint) = again(config, &record, messages, &keys)?;
    println!("{text}");
    if fingerprint != record.answer.tokens_fingerprint {
        return Err(Failure::Data("the answer is another one than was recorded".into()));
    }
    eprintln!("the same {} tokens and log-probabilities, bit for bit", record.answer.tokens);
    Ok(())
}

/// The record of request `id`, or of number `#N`, out of a log that nobody changed.
fn find(config: &Config, id: &str) -> Result<GenerationRecord, Failure> {
    let wanted = format!("\"request\":{}", Value::from(id)).into_bytes();
    let number: Option<u64> = id.strip_prefix('#').and_then(|number| number.parse().ok());
    let (mut found, mut refused) = (Vec::new(), None);
    super::audit::read(config, Scope::default(), |line, _| {
        let head = &line[..line.len().min(HEAD)];
        let may_be = match number {
            Some(number) => line.starts_with(format!("{{\"seq\":{number},").as_bytes()),
            None => head.windows(wanted.len()).any(|part| part == wanted),
        };
        if !may_be {
            return;
        }
        match serde_json::from_slice(line) {
            Ok(Record { seq, event: Event::Generation(record), .. }) => found.push((seq, record)),
            Ok(Record { event: Event::Refusal(record), .. }) => refused = Some(record.code),
            _ => {}
        }
    })?;
    match (found.len(), refused) {
        (0, Some(code)) => {
            Err(Failure::Usage(format!("the request {id:?} was refused ({code}): there is no answer to replay")))
        }
        (0, None) => Err(Failure::Usage(format!("there is no answer to a request {id:?} in the log"))),
        (1, _) => Ok(*found.swap_remove(0).1),
        _ => {
            let numbers: Vec<_> = found.iter().map(|(seq, _)| format!("#{seq}")).collect();
            Err(Failure::Usage(format!("several requests had this id: name one of {}", numbers.join(", "))))
        }
    }
}

/// The messages of a request's body, a list of messages, or a text that a user said.
fn messages(file: &Path) -> Result<Vec<Message>, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Usage(format!("{}: {e}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| wrong(&e))?;
    let body = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Array(messages)) => json!({"messages": messages}),
        Ok(body @ Value::Object(_)) => body,
        _ => json!({"inputs": text.trim_end_matches('\n')}),
    };
    let Body { inputs, messages } = serde_json::from_value(body).map_err(|e| wrong(&e))?;
    let said = inputs.map(|content| Message { role: "user".into(), content });
    let messages = messages.unwrap_or_default().into_iter().enumerate().map(plain);
    let messages = messages.map(|m| m.map(|ChatMessage { role, content }| Message { role, content }));
    said.map(Ok).into_iter().chain(messages).collect::<Result<_, _>>().map_err(|e| wrong(&e.detail))
}

/// What a request's body has of the prompt.
#[derive(Deserialize)]
struct Body {
    inputs: Option<String>,
    messages: Option<Vec<OpenAiMessage>>,
}

/// Text and fingerprint of the answer, made on the recorded path, instruction set and precision.
fn again(
    config: &Config,
    record: &GenerationRecord,
    messages: Vec<Message>,
    keys: &Keys,
) -> Result<(String, String), Failure> {
    let mut config = config.clone();
    let EngineRecord { isa, precision, version } = &record.engine;
    let missing = |what: &str| Failure::Engine(format!("the answer was computed with {what}, which is not here"));
    match (&**isa, config.engine.device) {
        ("cuda", DeviceChoice::Cuda(_)) => {}
        ("cuda", _) => config.engine.device = DeviceChoice::Cuda(0),
        _ => {
            config.engine.isa = Some(Isa::named(isa).ok_or_else(|| missing(isa))?);
            config.engine.device = DeviceChoice::Cpu;
        }
    }
    config.engine.precision = Precision::named(precision).ok_or_else(|| missing(precision))?;
    if version != env!("CARGO_PKG_VERSION") {
        eprintln!("version {version} answered: this one may compute other bits");
    }
    let (base, stable) = startup::open(&config)?;
    let answered = |pool: &Arc<Pool>| pool.revision().to_string() == record.revision;
    let pool = if answered(&stable) { Some(stable.clone()) } else { startup::published_candidate(&config, &base)? };
    let pool = pool.filter(answered).ok_or_else(|| {
        let (theirs, ours) = (&record.revision, stable.revision());
        Failure::Config(format!("revision {theirs} answered, [pool] dir holds {ours} and candidate_dir no such one"))
    })?;
    let soup = record.soup.restore(&pool).and_then(Result::ok);
    let soup = soup.filter(|soup| soup.id().to_string() == record.soup.id);
    let soup = soup.ok_or_else(|| Failure::Engine("this version cannot make the soup of the record".into()))?;
    let path = if record.path == "materialised" { PathChoice::Materialised } else { PathChoice::Gate };
    let engine = startup::start_engine(&config, base, pool.clone())?;
    let wish = Wish::Inline { preference: Preference::default(), merge: MergeOptions::default() };
    let order = Order { messages, wish, sampling: Sampling::default(), explain: false };
    let prompt = submit::prompt_tokens(&engine, &order).map_err(|e| Failure::Usage(e.detail))?;
    let (mut text, mut fingerprint) = (String::new(), keys.begin_fingerprint());
    if record.answer.tokens > 0 {
        let params = record.parameters.again(record.answer.tokens);
        let submission = Submission { prompt, pool, soup: soup.into(), path, client: 0, params };
        let mut generation = engine.submit(submission).map_err(Failure::engine)?;
        while let Some(event) = generation.blocking_next() {
            match event {
                EngineEvent::Token { id, text: more, logprob, .. } => {
                    add_token(&mut fingerprint, id, logprob);
                    text.push_str(&more);
                }
                EngineEvent::Finished { text: tail, .. } => text.push_str(&tail),
                EngineEvent::Failed(error) => return Err(Failure::engine(error)),
            }
        }
    }
    engine.shutdown();
    Ok((text, fingerprint.finish()))
}
