//! Each kernel against what this machine can do at best:
//!
//! ```text
//! cargo bench -p tureen-kernels          every core;  TUREEN_THREADS=1 for one
//! ```
//!
//! First the ceilings: bytes read from memory and multiply-adds in registers. Then, for each kernel, the least time that
//! its bytes and multiply-adds take at these ceilings, and Criterion's figures. Shapes are those of SmolLM2-135M; weights,
//! keys and values are read in turn from more copies than the caches hold.
#![allow(missing_docs, clippy::unwrap_used)]

use std::convert::Infallible;
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use tureen_kernels::{
    CacheBuffers, Change, Compute, Isa, Likelihood, Page, PageRef, PageShape, Panels, Precision, Product, Rotation,
    Rows, Team, Term,
};

const HIDDEN: usize = 576;
const FEED: usize = 1536;
const VOCABULARY: usize = 49_152;
const LAYERS: usize = 30;
const KV_HEADS: usize = 3;
const HEAD_DIM: usize = 64;
/// Six policies of rank 16.
const RANKS: usize = 96;

fn main() {
    // `cargo test --benches` runs this too, without `--bench`, or asks for a list of tests: there are none.
    if !std::env::args().any(|a| a == "--bench") || std::env::args().any(|a| a == "--list") {
        return;
    }
    let threads = std::env::var("TUREEN_THREADS").map_or(0, |n| n.parse().unwrap());
    let compute = Compute::new(Isa::detect(), Team::new(threads).unwrap());
    let ceilings = Ceilings::measure(&compute);
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .configure_from_args();
    let mut group = criterion.benchmark_group(format!("{} x {}", compute.isa().name(), compute.team().threads()));
    let mut bench = Bench { compute: &compute, ceilings, group: &mut group };
    for precision in Precision::ALL.into_iter().rev() {
        for rows in [1, 4, 16, 512] {
            bench.product(precision, rows, 2 * FEED, HIDDEN);
        }
        bench.product(precision, 16, HIDDEN, FEED);
        bench.feed(precision, 16, 0);
        bench.feed(precision, 16, RANKS);
        bench.norm(precision, 16);
        bench.fold(precision);
    }
    for (streams, rows, position) in [(1, 1, 1000), (16, 1, 192), (16, 1, 1000), (1, 256, 0)] {
        bench.attention(streams, rows, position);
    }
    bench.likelihoods(16);
    group.finish();
}

struct Ceilings {
    bytes: f64,
    multiply_adds: [f64; 3],
}

impl Ceilings {
    fn measure(compute: &Compute) -> Self {
        let bytes = compute.read_ceiling();
        let multiply_adds = Precision::ALL.map(|precision| compute.multiply_ceiling(precision));
        println!("{}, {} threads, at best:", compute.isa().name(), compute.team().threads());
        println!("  reads {:.1} GB/s from memory", bytes / 1e9);
        for (precision, rate) in Precision::ALL.iter().zip(multiply_adds) {
            println!("  {precision} {:.0} G multiply-adds/s", rate / 1e9);
        }
        Self { bytes, multiply_adds }
    }
}

/// What one call of a kernel costs at least.
struct Cost {
    precision: Precision,
    multiply_adds: usize,
    bytes: usize,
}

struct Bench<'a, 'b> {
    compute: &'a Compute,
    ceilings: Ceilings,
    group: &'a mut BenchmarkGroup<'b, WallTime>,
}

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 40_503) % 777) as f32 / 388.0 - 1.0).collect()
}

/// As many copies as fill 128 MiB, where they are not too many.
fn copies(precision: Precision, out: usize, input: usize) -> Vec<Panels> {
    let w = values(out * input);
    let count = ((128 << 20) / Panels::bytes_of(precision, out, input)).clamp(2, 600);
    (0..count).map(|_| Panels::pack(precision, out, input, &w)).collect()
}

impl Bench<'_, '_> {
    fn measure(&mut self, name: &str, cost: Cost, mut work: impl FnMut()) {
        let reads = cost.bytes as f64 / self.ceilings.bytes;
        let at = Precision::ALL.iter().position(|p| *p == cost.precision).unwrap();
        let computes = cost.multiply_adds as f64 / self.ceilings.multiply_adds[at];
        let (least, bound) = if reads > computes { (reads, "reading") } else { (computes, "multiplying") };
        println!("\n{name}: at least {:.1} us, bound by {bound}", least * 1e6);
        let (elements, bytes) = (cost.multiply_adds as u64, cost.bytes as u64);
        self.group.throughput(Throughput::ElementsAndBytes { elements, bytes });
        self.group.bench_function(name, |b| b.iter(&mut work));
    }

    fn activations(&self, precision: Precision, rows: usize, input: usize) -> Rows {
        let mut x = Rows::new(self.compute.isa(), precision, input);
        x.resize(rows);
        self.compute.convert(&values(rows * input), &mut x);
        x
    }

    fn product(&mut self, precision: Precision, rows: usize, out: usize, input: usize) {
        let (weights, x) = (copies(precision, out, input), self.activations(precision, rows, input));
        let (mut y, mut turn) = (vec![0.0; rows * out], 0);
        let cost = Cost { precision, multiply_adds: rows * out * input, bytes: weights[0].bytes() };
        let compute = self.compute;
        self.measure(&format!("{precision} product {rows} x {input} x {out}"), cost, || {
            turn = (turn + 1) % weights.len();
            let terms = [Term { x: x.view(), w: &weights[turn], first: 0 }];
            compute.multiply(&mut [Product { terms: &terms, y: &mut y, add: false }]);
        });
    }

    /// A matrix for each core, side by side.
    fn fold(&mut self, precision: Precision) {
        let (out, input, threads) = (FEED, HIDDEN, self.compute.team().threads());
        let (weight, a, b) = (values(out * input), values(RANKS * input), values(out * RANKS));
        let bytes = threads * (4 * out * input + Panels::bytes_of(precision, out, input));
        let cost = Cost { precision, multiply_adds: threads * out * input * RANKS, bytes };
        let isa = self.compute.isa();
        let fold = || {
            let rows = |rows: Range<usize>| Ok::<_, Infallible>(weight[rows.start * input..rows.end * input].to_vec());
            Panels::fold(isa, precision, [out, input], rows, Change { a: &a, b: &b }).unwrap()
        };
        self.measure(&format!("{precision} fold {out} x {input}, {RANKS} ranks, {threads} matrices"), cost, || {
            std::thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(fold)).collect();
                black_box(fold());
                others.into_iter().for_each(|other| _ = black_box(other.join().unwrap()));
            });
        });
    }

    /// With `ranks`, policies in both halves.
    fn feed(&mut self, precision: Precision, rows: usize, ranks: usize) {
        let (weights, x) = (copies(precision, FEED, HIDDEN), self.activations(precision, rows, HIDDEN));
        let (factors, z) = (copies(precision, FEED, ranks.max(1)), self.activations(precision, rows, ranks.max(1)));
        let (mut y, mut turn) = (self.activations(precision, rows, FEED), 0);
        let bytes = 2 * (weights[0].bytes() + if ranks > 0 { factors[0].bytes() } else { 0 });
        let cost = Cost { precision, multiply_adds: 2 * rows * FEED * (HIDDEN + ranks), bytes };
        let compute = self.compute;
        let name = format!("{precision} gated feed {rows} x {HIDDEN} + {ranks} x {FEED}");
        self.measure(&name, cost, || {
            turn = (turn + 2) % weights.len();
            let terms = |i: usize| {
                let at = (turn + i) % weights.len();
                let base = Term { x: x.view(), w: &weights[at], first: 0 };
                [base, Term { x: z.view(), w: &factors[at % factors.len()], first: 0 }]
            };
            let count = if ranks > 0 { 2 } else { 1 };
            compute.gated_feed(&terms(0)[..count], &terms(1)[..count], 0, &mut y);
        });
    }

    fn norm(&mut self, precision: Precision, rows: usize) {
        let (x, weight) = (values(rows * HIDDEN), values(HIDDEN));
        let mut y = self.activations(precision, rows, HIDDEN);
        let cost = Cost { precision: Precision::F32, multiply_adds: 3 * rows * HIDDEN, bytes: 0 };
        let compute = self.compute;
        self.measure(&format!("{precision} rms norm {rows} x {HIDDEN}"), cost, || {
            compute.rms_norm(&x, 0..rows, &weight, 1e-5, &mut y);
        });
    }

    /// `rows` of each of several streams that are at `position`, stored and attended to.
    fn attention(&mut self, streams: usize, rows: usize, position: usize) {
        let shape = PageShape::new(LAYERS, KV_HEADS, HEAD_DIM, Precision::Bf16);
        let reach = shape.pages(position + rows);
        let mut pages: Vec<_> = (0..streams).map(|_| Page::several(shape, reach)).collect();
        let (kv, all) = (KV_HEADS * HEAD_DIM, streams * rows);
        let (mut query, mut key, mut value) = (values(all * HIDDEN), values(all * kv), values(all * kv));
        let (turned, mut y) = (vec![0.5_f32.sqrt(); (position + rows) * HEAD_DIM / 2], vec![0.0; all * HIDDEN]);
        let seen: usize = (0..rows).map(|row| position + row + 1).sum();
        let (multiply_adds, bytes) = (2 * streams * seen * HIDDEN, streams * reach * shape.bytes() / LAYERS);
        let (compute, mut layer, mut buffers) = (self.compute, 0, CacheBuffers::default());
        let cost = Cost { precision: Precision::Bf16, multiply_adds, bytes };
        self.measure(&format!("attention {streams} streams x {rows} rows at {position}"), cost, || {
            layer = (layer + 1) % LAYERS;
            let mut batch = buffers.begin(shape);
            for (i, pages) in pages.iter_mut().enumerate() {
                batch.push(pages.iter_mut().map(PageRef::Own), i * rows..(i + 1) * rows, position);
            }
            let rotation = Rotation { cos: &turned, sin: &turned };
            compute.store(layer, rotation, [&mut query, &mut key, &mut value], &mut batch);
            compute.attend(layer, &query, &batch, &mut y);
        });
    }

    fn likelihoods(&mut self, rows: usize) {
        let logits = values(rows * VOCABULARY);
        let mut to = vec![Likelihood { best: 0, largest: 0.0, log_total: 0.0, finite: false }; rows];
        // An exponential is about twelve operations.
        let multiply_adds = 12 * rows * VOCABULARY;
        let cost = Cost { precision: Precision::F32, multiply_adds, bytes: size_of_val(&logits[..]) };
        let compute = self.compute;
        self.measure(&format!("likelihoods {rows} x {VOCABULARY}"), cost, || {
            compute.likelihoods(&logits, VOCABULARY, &mut to);
        });
    }
}
