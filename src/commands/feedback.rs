//! `tureen feedback`

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::json;

use crate::cli::{Feedback, FeedbackExport};
use crate::config::Config;
use crate::exit::Failure;
use crate::store::{KeptPair, Pair, Store};

/// Pairs that are read at a time: each read has to end in the store's time.
const PAGE: u32 = 100;

/// Writes the pairs that feedback left, as far as they may still be kept: servers remove older ones now and then.
///
/// # Errors
/// 64 when the file cannot be written, 78 when the store cannot be used.
pub fn run(config: &Config, command: Feedback) -> Result<(), Failure> {
    let Feedback::Export(FeedbackExport { owner, out }) = command;
    super::block_on(async {
        let store = Store::open(&config.store).await.map_err(Failure::config)?;
        let store = store.ok_or_else(|| Failure::Config("[store] url is empty: no feedback is kept".into()))?;
        let age_ms = i64::try_from(config.learning.pairs.as_millis()).unwrap_or(i64::MAX);
        let written = match &out {
            None => export((&store, &owner, age_ms), io::stdout().lock()).await?,
            Some(file) => export((&store, &owner, age_ms), create(file)?).await?,
        };
        store.close().await;
        if written == 0 && !config.learning.keeps_pairs() {
            eprintln!("[learning] pairs_days is 0: no pairs are kept");
        }
        eprintln!("{written} pairs");
        Ok(())
    })?
}

/// It holds what people said: nobody else may read it.
fn create(file: &Path) -> Result<impl Write, Failure> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    created.map_err(|e| Failure::Usage(format!("{} cannot be written: {e}", file.display())))
}

async fn export((store, owner, age_ms): (&Store, &str, i64), to: impl Write) -> Result<u64, Failure> {
    let unwritable = |e: io::Error| Failure::Usage(format!("the pairs cannot be written: {e}"));
    let (mut to, mut written, mut after) = (BufWriter::new(to), 0, None);
    loop {
        let page = store.pairs(owner, after.as_deref(), age_ms, PAGE).await.map_err(Failure::config)?;
        let Some(KeptPair { id, .. }) = page.last() else { break };
        after = Some(id.clone());
        for KeptPair { pair, .. } in &page {
            writeln!(to, "{}", line(pair)).map_err(unwritable)?;
            written += 1;
        }
    }
    to.flush().map_err(unwritable)?;
    Ok(written)
}

/// TRL's conversational shape with an explicit prompt, for every pair: a column of a data set has one type.
fn line(pair: &Pair) -> serde_json::Value {
    let Pair { prompt, chosen, rejected } = pair;
    let answer = |content: &str| json!([{"role": "assistant", "content": content}]);
    json!({"prompt": prompt, "chosen": answer(chosen), "rejected": answer(rejected)})
}
