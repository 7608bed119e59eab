//! Prompts with their responses, packed for one forward.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};

use crate::model::{Base, Delta, Packing};
use crate::ops::token_log_prob;
use crate::prompts::shared_prefix;

/// A prompt's tokens and the response's.
pub type Pair<'a> = (&'a [u32], &'a [u32]);

/// What one forward says of the responses' tokens, row after row.
pub struct Scores {
    /// Log-probability of each token.
    pub log_probs: Tensor,
    /// Final hidden state that each token is predicted from, tokens x hidden.
    pub hidden: Tensor,
}

/// Runs base + `delta` over the pairs and scores every token of every response.
///
/// # Errors
/// An empty response, or a sequence longer than the model's tables.
pub fn score(base: &Base, delta: Option<&Delta>, pairs: &[Pair<'_>]) -> Result<Scores> {
    if pairs.iter().any(|(_, response)| response.is_empty()) {
        bail!("an empty response has nothing to score");
    }
    let prompts: Vec<Vec<u32>> = pairs.iter().map(|(prompt, _)| prompt.to_vec()).collect();
    let prefix = shared_prefix(&prompts);
    let mut tokens = prompts.first().map_or_else(Vec::new, |prompt| prompt[..prefix].to_vec());
    let (mut lengths, mut wanted, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (prompt, response) in pairs {
        let start = tokens.len();
        tokens.extend_from_slice(&prompt[prefix..]);
        // The last token of the response predicts nothing, so it is not run.
        tokens.extend_from_slice(&response[..response.len() - 1]);
        lengths.push(tokens.len() - start);
        let first = start + prompt.len() - prefix - 1;
        wanted.extend((first..first + response.len()).map(|token| token as u32));
        targets.extend_from_slice(response);
    }
    let packing = Arc::new(Packing::new(prefix, &lengths));
    let hidden = base.forward(&tokens, &packing, delta)?;
    let hidden = hidden.index_select(&Tensor::new(wanted.as_slice(), hidden.device())?, 0)?;
    let log_probs = token_log_prob(&hidden, base.head(), &targets)?;
    Ok(Scores { log_probs, hidden })
}

/// Final hidden state of the last token of every row, rows x hidden.
///
/// # Errors
/// An empty row, or one longer than the model's tables.
pub fn last_hidden(base: &Base, delta: Option<&Delta>, rows: &[Vec<u32>]) -> Result<Tensor> {
    if rows.is_empty() || rows.iter().any(Vec::is_empty) {
        bail!("an empty sequence has no last token");
    }
    let prefix = shared_prefix(rows);
    let mut tokens = rows[0][..prefix].to_vec();
    let (mut lengths, mut last) = (Vec::new(), Vec::new());
    for row in rows {
        tokens.extend_from_slice(&row[prefix..]);
        lengths.push(row.len() - prefix);
        last.push(tokens.len() as u32 - 1);
    }
    let packing = Arc::new(Packing::new(prefix, &lengths));
    let hidden = base.forward(&tokens, &packing, delta)?;
    hidden.index_select(&Tensor::new(last.as_slice(), hidden.device())?, 0)
}
