//! Attention of a batch of sequences over their pages.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::Range;

use crate::Compute;
use crate::cache::{CacheBatch, Entry};
use crate::line::Line;
use crate::math::{exp, exp_coarse};
use crate::page::PAGE;
use crate::precision::Precision;
use crate::rows::pack_bf16;
use crate::simd::{LANES, Op, Simd, line_words};
use crate::target::{Matrix, Target};
use crate::tile::{Segment, tile};

/// Rows of one sequence in one unit of work.
const UNIT_ROWS: usize = 8;
/// Pages that are fetched ahead: as many as are scored together.
const AHEAD: usize = 4;

/// Scratch of one thread.
#[derive(Debug, Default)]
struct Scratch {
    /// (pages), where this head's keys are, its values behind them
    keys: Vec<*const Line>,
    /// One query over √d.
    scaled: Vec<f32>,
    /// (queries, words of a query)
    queries: Vec<u32>,
    /// (queries, positions)
    scores: Vec<f32>,
    /// (queries, words of the positions)
    shares: Vec<u32>,
    /// (queries), what an answer is multiplied with
    inverses: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Compute {
    /// `y = softmax(q Kᵀ / √d) V` for each head of each row, over all positions up to its own.
    ///
    /// `query` and `y` (rows, heads · head_dim) f32 row-major; as many neighbouring heads as there are for each head of keys
    /// share it. The largest score is subtracted before `exp`, so nothing overflows.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn attend(&self, layer: usize, query: &[f32], batch: &CacheBatch<'_>, y: &mut [f32]) {
        let (shape, rows) = (batch.shape(), batch.rows());
        let width = query.len() / rows.max(1);
        let kv_width = shape.heads * shape.head_dim;
        assert!(layer < shape.layers && query.len() == rows * width && y.len() == query.len());
        assert!(width.is_multiple_of(kv_width), "{width} over {kv_width}");
        let blocks: usize = batch.sequences().iter().map(|e| e.rows.len().div_ceil(UNIT_ROWS)).sum();
        let matrix = Matrix::new(y, width);
        let units = blocks * shape.heads;
        let head = |unit: usize| Head { layer, head: unit % shape.heads, group: width / kv_width };
        self.team().run(units, &|unit| {
            let (entry, rows) = block(batch.sequences(), unit / shape.heads);
            // Units are dealt in turn, so this is most often right.
            let next = Some(unit + self.team().threads()).filter(|next| *next < units);
            let then = next.map(|next| (block(batch.sequences(), next / shape.heads).0, head(next)));
            let head = head(unit);
            let columns = head.columns(shape.head_dim);
            // SAFETY: each unit has its own rows and heads.
            let y = unsafe { matrix.part(rows.clone(), columns.clone()) };
            SCRATCH.with_borrow_mut(|scratch| {
                self.isa().run(Attend { head, query, width, batch, entry, rows, y: &y, scratch, then });
            });
        });
    }
}

/// The rows of a unit: units count blocks of rows of one sequence after the other.
fn block(sequences: &[Entry], mut unit: usize) -> (&Entry, Range<usize>) {
    for entry in sequences {
        let blocks = entry.rows.len().div_ceil(UNIT_ROWS);
        if unit < blocks {
            let start = entry.rows.start + unit * UNIT_ROWS;
            return (entry, start..(start + UNIT_ROWS).min(entry.rows.end));
        }
        unit -= blocks;
    }
    unreachable!("there are as many units as blocks of rows")
}

/// One head of keys and values, and the heads of queries that share it.
#[derive(Debug, Clone, Copy)]
struct Head {
    layer: usize,
    head: usize,
    group: usize,
}

impl Head {
    fn columns(self, head_dim: usize) -> Range<usize> {
        self.head * self.group * head_dim..(self.head + 1) * self.group * head_dim
    }
}

struct Attend<'a> {
    head: Head,
    query: &'a [f32],
    width: usize,
    batch: &'a CacheBatch<'a>,
    entry: &'a Entry,
    rows: Range<usize>,
    y: &'a Target<'a>,
    scratch: &'a mut Scratch,
    /// Where this thread will probably go on.
    then: Option<(&'a Entry, Head)>,
}

impl Op for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let queries = self.rows.len() * self.head.group;
        let pages = self.visible(self.rows.end - 1).div_ceil(PAGE);
        self.find(pages);
        self.fetch(s, 0..AHEAD);
        self.gather(s);
        self.scratch.scores.resize(queries * pages * PAGE, 0.0);
        let mut page = 0;
        while page < pages {
            self.fetch(s, page + AHEAD..page + 2 * AHEAD);
            page += match pages - page {
                4.. if S::WIDE => self.score::<S, 4>(s, page, pages),
                2.. if S::WIDE => self.score::<S, 2>(s, page, pages),
                _ => self.score::<S, 1>(s, page, pages),
            };
        }
        self.softmax(s, pages);
        self.fetch_then(s);
        let panels = self.batch.shape().head_dim.div_ceil(LANES);
        let mut panel = 0;
        while panel < panels {
            panel += if S::WIDE && panel + 4 <= panels {
                self.mix::<S, 4>(s, panel, pages)
            } else {
                self.mix::<S, 1>(s, panel, pages)
            };
        }
    }
}

/// Calls a method for all queries, up to four at a time.
macro_rules! in_blocks {
    ($queries:expr, $self:ident.$method:ident::<$s:ty, $p:ident>($($argument:expr),*)) => {{
        let mut query = 0;
        while query < $queries {
            query += match $queries - query {
                4.. => $self.$method::<$s, 4, $p>(query, $($argument),*),
                3 => $self.$method::<$s, 3, $p>(query, $($argument),*),
                2 => $self.$method::<$s, 2, $p>(query, $($argument),*),
                _ => $self.$method::<$s, 1, $p>(query, $($argument),*),
            };
        }
    }};
}

impl Attend<'_> {
    /// Positions that a row looks at.
    fn visible(&self, row: usize) -> usize {
        self.entry.position + (row - self.entry.rows.start) + 1
    }

    fn queries(&self) -> usize {
        self.rows.len() * self.head.group
    }

    /// Words of a query.
    #[inline(always)]
    fn key_words<S: Simd>(&self) -> usize {
        let shape = self.batch.shape();
        shape.key_lines() * line_words::<S>(shape.precision)
    }

    /// Words of a query's shares of one page.
    #[inline(always)]
    fn page_words<S: Simd>(&self) -> usize {
        let shape = self.batch.shape();
        shape.position_lines() * line_words::<S>(shape.precision)
    }

    /// Notes where the keys of `pages` are.
    fn find(&mut self, pages: usize) {
        let at = self.batch.shape().keys_at(self.head.layer, self.head.head);
        let keys = (0..pages).map(|page| self.batch.page(self.entry, page).wrapping_add(at).cast_const());
        self.scratch.keys.clear();
        self.scratch.keys.extend(keys);
    }

    /// Fetches keys and values of those pages that there are.
    #[inline(always)]
    fn fetch<S: Simd>(&self, s: S, pages: Range<usize>) {
        let lines = self.batch.shape().head_lines();
        for page in pages.start..pages.end.min(self.scratch.keys.len()) {
            for line in 0..lines {
                s.fetch(self.scratch.keys[page].wrapping_add(line));
            }
        }
    }

    /// Fetches the first pages of the unit that this thread will probably take.
    #[inline(always)]
    fn fetch_then<S: Simd>(&self, s: S) {
        let Some((entry, head)) = self.then else { return };
        let shape = self.batch.shape();
        let at = shape.keys_at(head.layer, head.head);
        for page in 0..entry.written().end.min(AHEAD) {
            let keys = self.batch.page(entry, page).wrapping_add(at);
            for line in 0..shape.head_lines() {
                s.fetch(keys.wrapping_add(line));
            }
        }
    }

    /// Queries over √d to words, each padded with zeros.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, s: S) {
        let shape = self.batch.shape();
        let words = self.key_words::<S>();
        let scale = 1.0 / (shape.head_dim as f32).sqrt();
        let scaled = &mut self.scratch.scaled;
        scaled.resize(shape.head_dim, 0.0);
        let queries = &mut self.scratch.queries;
        queries.clear();
        queries.resize(self.rows.len() * self.head.group * words, 0);
        let mut to = queries.chunks_exact_mut(words);
        for row in self.rows.clone() {
            let columns = self.head.columns(shape.head_dim);
            let heads = self.query[row * self.width..][columns].chunks_exact(shape.head_dim);
            for (head, to) in heads.zip(&mut to) {
                scaled.iter_mut().zip(head).for_each(|(to, x)| *to = x * scale);
                if shape.precision == Precision::F32 {
                    to.iter_mut().zip(&*scaled).for_each(|(to, x)| *to = x.to_bits());
                } else {
                    pack_bf16(s, scaled, to);
                }
            }
        }
    }

    /// Scores of `P` pages.
    #[inline(always)]
    fn score<S: Simd, const P: usize>(&mut self, s: S, page: usize, pages: usize) -> usize {
        in_blocks!(self.queries(), self.score_block::<S, P>(s, page, pages));
        P
    }

    #[inline(always)]
    fn score_block<S: Simd, const M: usize, const P: usize>(
        &mut self,
        query: usize,
        s: S,
        page: usize,
        pages: usize,
    ) -> usize {
        let shape = self.batch.shape();
        let (lines, words) = (shape.key_lines(), self.key_words::<S>());
        let mut panels = [std::ptr::null(); P];
        panels.copy_from_slice(&self.scratch.keys[page..page + P]);
        let segment = Segment::floats(panels, lines, &self.scratch.queries[query * words..], words);
        let mut acc = [[s.splat(0.0); P]; M];
        // SAFETY: each page holds `lines` lines of keys, and there are `M` queries of as many words as meet them.
        unsafe { tile::<S, M, P>(s, shape.precision, segment, &mut acc) };
        for (i, sums) in acc.iter().enumerate() {
            let to = &mut self.scratch.scores[(query + i) * pages * PAGE + page * PAGE..][..P * PAGE];
            for (to, sum) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(sums) {
                s.store(*sum, to);
            }
        }
        M
    }

    /// Scores to shares: `e^(score - largest)`, zero for positions that are not visible; and 1 / their sum.
    #[inline(always)]
    fn softmax<S: Simd>(&mut self, s: S, pages: usize) {
        let shape = self.batch.shape();
        let (stride, words) = (pages * PAGE, pages * self.page_words::<S>());
        self.scratch.shares.resize(self.queries() * words, 0);
        self.scratch.inverses.resize(self.queries(), 0.0);
        for query in 0..self.queries() {
            let visible = self.visible(self.rows.start + query / self.head.group);
            let scores = &mut self.scratch.scores[query * stride..][..stride];
            let (whole, rest) = (visible / LANES, visible % LANES);
            if rest > 0 {
                scores[visible..(whole + 1) * LANES].fill(f32::NEG_INFINITY);
            }
            let (vectors, _) = scores.as_chunks_mut::<LANES>();
            let mut largest = s.splat(f32::NEG_INFINITY);
            for vector in &vectors[..visible.div_ceil(LANES)] {
                largest = s.max(largest, s.load(vector));
            }
            let largest = s.splat(s.largest(largest));
            let mut total = s.splat(0.0);
            for (i, vector) in vectors[..visible.div_ceil(LANES)].iter_mut().enumerate() {
                let x = s.sub(s.load(vector), largest);
                let share = if shape.precision == Precision::F32 { exp(s, x) } else { exp_coarse(s, x) };
                s.store(share, vector);
                if i == whole {
                    vector[rest..].fill(0.0);
                }
                total = s.add(total, s.load(vector));
            }
            scores[visible..].fill(0.0);
            self.scratch.inverses[query] = 1.0 / s.sum(total);
            let shares = &mut self.scratch.shares[query * words..][..words];
            if shape.precision == Precision::F32 {
                shares.iter_mut().zip(scores).for_each(|(to, x)| *to = x.to_bits());
            } else {
                pack_bf16(s, scores, shares);
            }
        }
    }

    /// Answers of `P` panels of values.
    #[inline(always)]
    fn mix<S: Simd, const P: usize>(&mut self, s: S, panel: usize, pages: usize) -> usize {
        in_blocks!(self.queries(), self.mix_block::<S, P>(s, panel, pages));
        P
    }

    #[inline(always)]
    fn mix_block<S: Simd, const M: usize, const P: usize>(
        &mut self,
        query: usize,
        s: S,
        panel: usize,
        pages: usize,
    ) -> usize {
        let shape = self.batch.shape();
        let (lines, words) = (shape.position_lines(), self.page_words::<S>());
        let mut acc = [[s.splat(0.0); P]; M];
        for (page, keys) in self.scratch.keys.iter().enumerate() {
            let values = keys.wrapping_add(shape.key_lines());
            let mut panels = [std::ptr::null(); P];
            for (p, start) in panels.iter_mut().enumerate() {
                *start = values.wrapping_add((panel + p) * lines);
            }
            let shares = &self.scratch.shares[(query * pages + page) * words..];
            // SAFETY: each panel of values has `lines` lines, and there are `M` queries with as many words for each page.
            unsafe {
                tile::<S, M, P>(s, shape.precision, Segment::floats(panels, lines, shares, pages * words), &mut acc)
            };
        }
        for (i, sums) in acc.iter().enumerate() {
            let (row, head) = ((query + i) / self.head.group, (query + i) % self.head.group);
            let inverse = s.splat(self.scratch.inverses[query + i]);
            for (p, sum) in sums.iter().enumerate() {
                let at = (panel + p) * LANES;
                let lanes = (shape.head_dim - at).min(LANES);
                // SAFETY: the target holds these rows and the columns of these heads.
                unsafe { self.y.store_some(s, s.mul(*sum, inverse), row, head * shape.head_dim + at, lanes) };
            }
        }
        M
    }
}
