//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tureen_soup::{Method, Preference};

use crate::auth::{DEFAULT_OWNER, Scope};

/// Serves personalized soups: one language model per preference, made on the spot from a pool of policies.
///
/// Without a command: `serve`. Settings come from config.toml's defaults, --config and TUREEN__SECTION__KEY variables.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// Configuration file laid over the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the HTTP server (the default); fetches the base first when it is missing.
    Serve,
    /// Fetch the base model and check its sha256 against the pool's manifest.
    Pull,
    /// Check configuration, base and pool, then leave; opens no port.
    Check,
    /// Generate one answer and stream it to standard output.
    Generate(Generate),
    /// Write one soup as a model others can load.
    Merge(Merge),
    /// Print the logits after a prompt, for comparing with other implementations.
    Logits(Logits),
    /// Make, list and revoke the keys that clients send.
    #[command(subcommand)]
    Keys(Keys),
    /// Look after the store of profiles and keys.
    #[command(subcommand)]
    Db(Db),
    /// Write what users chose as training data.
    #[command(subcommand)]
    Feedback(Feedback),
    /// Check the audit log, and make answers again.
    #[command(subcommand)]
    Audit(Audit),
    /// Show on made-up people how soon choices tell a preference.
    Simulate(Simulate),
    /// Ask a running server whether it is ready; exit 0 when it is.
    Healthcheck,
    /// Print the OpenAPI document.
    Openapi,
}

/// Which soup: shared by every command that makes one.
#[derive(Debug, Args)]
pub struct SoupArgs {
    /// Weighted preference, for example concise=0.6,friendly=0.4; leave it out for the base.
    #[arg(long, value_name = "NAME=WEIGHT,...")]
    pub soup: Option<Preference>,
    /// exact, factor, linear, ties, dare_linear, dare_ties, slerp or logits.
    #[arg(long, default_value = "exact")]
    pub method: Method,
    /// Scales the whole change, 0 to 4.
    #[arg(long, default_value_t = 1.0)]
    pub strength: f64,
}

/// `tureen generate`
#[derive(Debug, Args)]
pub struct Generate {
    /// The soup to use.
    #[command(flatten)]
    pub soup: SoupArgs,
    /// Most tokens to generate.
    #[arg(long, default_value_t = 256)]
    pub max_new_tokens: usize,
    /// Seed of the sampler; a random one when left out.
    #[arg(long)]
    pub seed: Option<u64>,
    /// 0 always takes the likeliest token.
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// What the user says.
    pub prompt: String,
}

/// `tureen merge`
#[derive(Debug, Args)]
pub struct Merge {
    /// The soup to write.
    #[command(flatten)]
    pub soup: SoupArgs,
    /// Folder to write to; it must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write the whole model (safetensors, config.json, tokenizer) instead of a PEFT adapter.
    #[arg(long)]
    pub full: bool,
}

/// `tureen logits`
#[derive(Debug, Args)]
pub struct Logits {
    /// The soup to use.
    #[command(flatten)]
    pub soup: SoupArgs,
    /// Text as it is, without a chat template.
    #[arg(long)]
    pub prompt: String,
    /// Print {"tokens":[...],"last_logits":[...]} instead of the ten likeliest tokens.
    #[arg(long)]
    pub json: bool,
}

/// `tureen keys`
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key and print it, this once: only a hash of it is stored.
    Add(KeysAdd),
    /// List all keys, the revoked ones too.
    List,
    /// End a key; running servers follow within a second.
    Revoke {
        /// The key's id: its part between tureen_ and the next _.
        id: String,
    },
}

/// `tureen keys add`
#[derive(Debug, Args)]
pub struct KeysAdd {
    /// What you call it.
    #[arg(long)]
    pub name: String,
    /// Whose profiles it reaches. Keys of one owner share profiles, and see none of another's.
    #[arg(long, default_value = DEFAULT_OWNER)]
    pub owner: String,
    /// What it may be used for: generate, profiles:read, profiles:write, feedback, admin, metrics.
    #[arg(long = "scopes", value_delimiter = ',', default_value = "generate", value_name = "SCOPE,...")]
    pub scopes: Vec<Scope>,
    /// Requests in a minute instead of the configured number; 0 is no limit.
    #[arg(long)]
    pub rate_per_minute: Option<u32>,
    /// Requests at a time instead of the configured number; 0 is no limit.
    #[arg(long)]
    pub concurrency: Option<u32>,
    /// TOML file with the keys of the section rules, which hold for this key as well as the configured ones.
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Days after which it is no key any more.
    #[arg(long)]
    pub expires_in_days: Option<u32>,
}

/// `tureen db`
#[derive(Debug, Subcommand)]
pub enum Db {
    /// Copy a SQLite store to a new file while servers use it.
    Backup {
        /// The new file; it must not exist.
        file: PathBuf,
    },
}

/// `tureen feedback`
#[derive(Debug, Subcommand)]
pub enum Feedback {
    /// Write the kept preference pairs as JSON lines in TRL's conversational shape, which `tureen-trainer` reads.
    Export(FeedbackExport),
}

/// `tureen feedback export`
#[derive(Debug, Args)]
pub struct FeedbackExport {
    /// Whose users' pairs.
    #[arg(long, default_value = DEFAULT_OWNER)]
    pub owner: String,
    /// The new file; standard output when left out.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `tureen audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Find every record that was edited, removed, moved or cut; exit 65 when there is one.
    Verify(AuditVerify),
    /// Generate a recorded answer again and compare every bit of it; exit 65 when it is another one.
    Replay(AuditReplay),
}

/// `tureen audit verify`
#[derive(Debug, Args)]
pub struct AuditVerify {
    /// Copy of checkpoint.json that was kept elsewhere: the log must contain it.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// The first segment, when earlier ones were put elsewhere.
    #[arg(long, value_name = "NUMBER")]
    pub from_segment: Option<u32>,
}

/// `tureen audit replay`
#[derive(Debug, Args)]
pub struct AuditReplay {
    /// The request's id (x-request-id), or # and the number of the record.
    pub id: String,
    /// The request's body, its messages as JSON, or the text of its prompt.
    #[arg(long, value_name = "FILE")]
    pub prompt_file: PathBuf,
}

/// `tureen simulate`
#[derive(Debug, Args)]
pub struct Simulate {
    /// How many people.
    #[arg(long, default_value_t = 200)]
    pub users: usize,
    /// How many policies.
    #[arg(long, default_value_t = 4)]
    pub policies: usize,
    /// Of the random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
