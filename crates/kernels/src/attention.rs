//! Attention of a batch of sequences over their pages.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ops::Range;

use crate::Compute;
use crate::cache::{CacheBatch, Entry};
use crate::line::Line;
use crate::math::exp;
use crate::page::PAGE;
use crate::precision::Precision;
use crate::rows::pack_bf16;
use crate::simd::{LANES, Op, Simd};
use crate::target::{Matrix, Target};
use crate::tile::{Segment, tile};

/// Rows of one sequence in one unit of work.
const UNIT_ROWS: usize = 8;

/// Scratch of one thread.
#[derive(Debug, Default)]
struct Scratch {
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
        self.team().run(blocks * shape.heads, &|unit| {
            let (entry, rows) = block(batch.sequences(), unit / shape.heads);
            let head = Head { layer, head: unit % shape.heads, group: width / kv_width };
            let columns = head.columns(shape.head_dim);
            // SAFETY: each unit has its own rows and heads.
            let y = unsafe { matrix.part(rows.clone(), columns.clone()) };
            SCRATCH.with_borrow_mut(|scratch| {
                self.isa().run(Attend { head, query, width, batch, entry, rows, y: &y, scratch });
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
}

impl Op for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let queries = self.rows.len() * self.head.group;
        let pages = self.visible(self.rows.end - 1).div_ceil(PAGE);
        self.gather(s);
        self.scratch.scores.resize(queries * pages * PAGE, 0.0);
        let mut page = 0;
        while page < pages {
            page += if S::WIDE && page + 4 <= pages {
                self.score::<S, 4>(s, page, pages)
            } else {
                self.score::<S, 1>(s, page, pages)
            };
        }
        self.softmax(s, pages);
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

    fn share_words(&self, pages: usize) -> usize {
        pages * self.batch.shape().position_lines()
    }

    /// The first line of a head's keys in a page.
    fn keys(&self, page: usize) -> *const Line {
        let at = self.batch.shape().keys_at(self.head.layer, self.head.head);
        self.batch.page(self.entry, page).wrapping_add(at)
    }

    /// Queries to words, each padded with zeros.
    #[inline(always)]
    fn gather<S: Simd>(&mut self, s: S) {
        let shape = self.batch.shape();
        let words = shape.key_lines();
        let queries = &mut self.scratch.queries;
        queries.clear();
        queries.resize(self.rows.len() * self.head.group * words, 0);
        let mut to = queries.chunks_exact_mut(words);
        for row in self.rows.clone() {
            let columns = self.head.columns(shape.head_dim);
            let heads = self.query[row * self.width..][columns].chunks_exact(shape.head_dim);
            for (head, to) in heads.zip(&mut to) {
                if shape.precision == Precision::F32 {
                    to.iter_mut().zip(head).for_each(|(to, x)| *to = x.to_bits());
                } else {
                    pack_bf16(s, head, to);
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
        let words = shape.key_lines();
        let mut panels = [std::ptr::null(); P];
        for (p, keys) in panels.iter_mut().enumerate() {
            *keys = self.keys(page + p);
        }
        let segment = Segment::floats(panels, words, &self.scratch.queries[query * words..], words);
        let mut acc = [[s.splat(0.0); P]; M];
        // SAFETY: each page holds `words` lines of keys, and there are `M` queries of as many words.
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
        let scale = s.splat(1.0 / (shape.head_dim as f32).sqrt());
        let (stride, words) = (pages * PAGE, self.share_words(pages));
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
            for vector in &mut vectors[..visible.div_ceil(LANES)] {
                let x = s.mul(s.load(vector), scale);
                s.store(x, vector);
                largest = s.max(largest, x);
            }
            let largest = s.splat(s.largest(largest));
            let mut total = s.splat(0.0);
            for (i, vector) in vectors[..visible.div_ceil(LANES)].iter_mut().enumerate() {
                s.store(exp(s, s.sub(s.load(vector), largest)), vector);
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
        let (lines, words) = (shape.position_lines(), self.share_words(pages));
        let mut acc = [[s.splat(0.0); P]; M];
        for page in 0..pages {
            let values = self.keys(page).wrapping_add(shape.key_lines());
            let mut panels = [std::ptr::null(); P];
            for (p, start) in panels.iter_mut().enumerate() {
                *start = values.wrapping_add((panel + p) * lines);
            }
            let shares = &self.scratch.shares[query * words + page * lines..];
            // SAFETY: each panel of values has `lines` lines, and there are `M` queries with as many words for each page.
            unsafe { tile::<S, M, P>(s, shape.precision, Segment::floats(panels, lines, shares, words), &mut acc) };
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
