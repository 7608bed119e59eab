//! Full pages that begin the sequences of a soup, found again by what they hold.
//!
//! A page's keys and values depend on the parameters, on the path that serves them (both round differently), and on every
//! token up to its last one. So a page is known by its parent, which stands for all of that, and its own 16 tokens.
//! Tokens are compared, not just hashed: two prompts are never taken for each other.
//!
//! What a hit shows: nothing but time. Pages are read by attention alone and equal what would have been computed, bit for
//! bit, so no answer depends on who was here before; how fast a first token comes may tell that somebody sent the same
//! beginning with the same soup.

use std::sync::Arc;

use lru::LruCache;
use tureen_kernels::PAGE;
use tureen_soup::SoupId;

use super::pool::LeasedPage;

/// The parameters that pages were computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PrefixKey {
    /// The base: the same under every pool of this engine.
    Base,
    /// Weights, method and revision are in the id.
    Gate(SoupId),
    /// Merged weights round differently than the gate.
    Materialised(SoupId),
}

/// What stands for everything before a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Parent {
    Root(PrefixKey),
    /// An entry. Numbers are never used twice, so children of an entry that is gone are not found.
    Entry(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Block {
    parent: Parent,
    tokens: [u32; PAGE],
}

#[derive(Debug)]
struct Entry {
    number: u64,
    page: Arc<LeasedPage>,
}

/// Pages by content. An entry is used whenever one of its descendants is, and after it: the least recently used entry
/// has no children, so nothing is ever cut off from its root.
#[derive(Debug)]
pub(super) struct PrefixCache {
    entries: LruCache<Block, Entry>,
    /// Entries that are kept.
    limit: usize,
    entered: u64,
    /// The blocks of a walk, kept for its way back.
    path: Vec<Block>,
}

impl PrefixCache {
    /// Empty. It keeps up to `limit` pages, fewer where the budget needs them.
    pub(super) fn new(limit: usize) -> Self {
        // Not bounded by itself: what it pushed out might be the parent of what comes in.
        Self { entries: LruCache::unbounded(), limit, entered: 0, path: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Appends the pages that hold the beginning of `tokens` to `pages`, which holds the first of them already.
    pub(super) fn find(&mut self, key: PrefixKey, tokens: &[u32], pages: &mut Vec<Arc<LeasedPage>>) {
        let held = pages.len();
        let (blocks, _) = tokens.as_chunks();
        let mut parent = Parent::Root(key);
        for (index, tokens) in blocks.iter().enumerate() {
            let block = Block { parent, tokens: *tokens };
            let Some(entry) = self.entries.peek(&block) else { break };
            if index >= held {
                pages.push(entry.page.clone());
            }
            parent = Parent::Entry(entry.number);
            self.path.push(block);
        }
        self.touch();
    }

    /// Remembers `pages`, which hold the beginning of `tokens`. Blocks that are known already keep their page. What is over
    /// the limit then, [`Self::pop_surplus`] gives back.
    pub(super) fn insert(&mut self, key: PrefixKey, tokens: &[u32], pages: &[Arc<LeasedPage>]) {
        let (blocks, _) = tokens.as_chunks();
        let mut parent = Parent::Root(key);
        for (tokens, page) in blocks.iter().zip(pages) {
            let block = Block { parent, tokens: *tokens };
            let known = self.entries.peek(&block).map(|entry| entry.number);
            let number = known.unwrap_or_else(|| {
                self.entered += 1;
                self.entries.put(block, Entry { number: self.entered, page: page.clone() });
                self.entered
            });
            parent = Parent::Entry(number);
            self.path.push(block);
        }
        self.touch();
    }

    /// Marks the walked blocks as used, the root last.
    fn touch(&mut self) {
        while let Some(block) = self.path.pop() {
            self.entries.promote(&block);
        }
    }

    /// Forgets the least recently used page while there are too many.
    pub(super) fn pop_surplus(&mut self) -> Option<Arc<LeasedPage>> {
        if self.entries.len() > self.limit { self.pop() } else { None }
    }

    /// Forgets the least recently used page.
    pub(super) fn pop(&mut self) -> Option<Arc<LeasedPage>> {
        self.entries.pop_lru().map(|(_, entry)| entry.page)
    }
}
