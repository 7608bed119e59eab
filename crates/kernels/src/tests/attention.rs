use super::{bits, compute, every_isa, random, rounded};
use crate::{CacheBuffers, Compute, PAGE, Page, PageRef, PageShape, Precision, Rotation};

/// A model's attention: what all sequences share.
struct Scene {
    shape: PageShape,
    /// Heads of queries for each head of keys.
    group: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
    buffers: CacheBuffers,
}

/// One sequence with all its inputs, and what was computed so far.
struct Sequence {
    pages: Vec<Page>,
    /// Queries, keys and values of all positions.
    inputs: [Vec<f32>; 3],
    done: usize,
    /// Rotated keys and queries, answers.
    keys: Vec<f32>,
    queries: Vec<f32>,
    answers: Vec<f32>,
}

const LAYER: usize = 1;

impl Scene {
    fn new(precision: Precision, heads: usize, group: usize, head_dim: usize) -> Self {
        let (shape, half) = (PageShape::new(2, heads, head_dim, precision), head_dim / 2);
        let angles: Vec<f64> = (0..100 * half).map(|i| (i / half) as f64 / 1.0e3_f64.powf((i % half) as f64)).collect();
        let cos = angles.iter().map(|a| a.cos() as f32).collect();
        let sin = angles.iter().map(|a| a.sin() as f32).collect();
        Self { shape, group, cos, sin, buffers: CacheBuffers::default() }
    }

    fn widths(&self) -> [usize; 3] {
        let width = self.shape.heads * self.shape.head_dim;
        [width * self.group, width, width]
    }

    fn sequence(&self, positions: usize, seed: u64) -> Sequence {
        let [q, k, v] = self.widths();
        let pages = Page::several(self.shape, self.shape.pages(positions));
        let inputs = [(q, 0), (k, 1), (v, 2)].map(|(width, i)| random(positions * width, 3 * seed + i));
        Sequence { pages, inputs, done: 0, keys: Vec::new(), queries: Vec::new(), answers: Vec::new() }
    }

    /// One step: the next `rows[i]` positions of each sequence.
    fn step(&mut self, compute: &Compute, sequences: &mut [&mut Sequence], rows: &[usize]) {
        let widths = self.widths();
        let mut inputs: [Vec<f32>; 3] = Default::default();
        for (sequence, rows) in sequences.iter().zip(rows) {
            for ((to, from), width) in inputs.iter_mut().zip(&sequence.inputs).zip(widths) {
                to.extend(&from[sequence.done * width..][..rows * width]);
            }
        }
        let mut batch = self.buffers.begin(self.shape);
        let mut row = 0;
        for (sequence, rows) in sequences.iter_mut().zip(rows) {
            let (full, reach) = (sequence.done / PAGE, self.shape.pages(sequence.done + rows));
            let pages = sequence.pages[..reach].iter_mut().enumerate();
            let pages = pages.map(|(i, page)| if i < full { PageRef::Full(page) } else { PageRef::Own(page) });
            batch.push(pages, row..row + rows, sequence.done);
            row += rows;
        }
        let [query, key, value] = &mut inputs;
        compute.store(LAYER, Rotation { cos: &self.cos, sin: &self.sin }, [query, key, value], &mut batch);
        let mut answers = vec![f32::NAN; query.len()];
        compute.attend(LAYER, query, &batch, &mut answers);
        let mut row = 0;
        for (sequence, rows) in sequences.iter_mut().zip(rows) {
            let range = |width: usize| row * width..(row + rows) * width;
            sequence.queries.extend(&query[range(widths[0])]);
            sequence.keys.extend(&key[range(widths[1])]);
            sequence.answers.extend(&answers[range(widths[0])]);
            sequence.done += rows;
            row += rows;
        }
    }

    /// `head` of `row` of (rows, width).
    fn head<'a>(&self, values: &'a [f32], width: usize, row: usize, head: usize) -> &'a [f32] {
        &values[row * width + head * self.shape.head_dim..][..self.shape.head_dim]
    }

    fn check_rotation(&self, sequence: &Sequence) {
        let half = self.shape.head_dim / 2;
        let pairs = [(&sequence.inputs[0], &sequence.queries), (&sequence.inputs[1], &sequence.keys)];
        for ((before, after), width) in pairs.into_iter().zip(self.widths()) {
            for (i, after) in after.iter().enumerate() {
                let (position, at) = (i / width, i % self.shape.head_dim);
                let pair = position * half + at % half;
                let (cos, sin) = (f64::from(self.cos[pair]), f64::from(self.sin[pair]));
                let x = |i: usize| f64::from(before[i]);
                let wanted = if at < half { x(i) * cos - x(i + half) * sin } else { x(i) * cos + x(i - half) * sin };
                assert!((f64::from(*after) - wanted).abs() < 3e-7, "{after} is not {wanted}");
            }
        }
    }

    /// Answers against one f64 softmax for each head of each position.
    fn check_answers(&self, sequence: &Sequence, what: &str) {
        let (precision, [width, kv_width, _]) = (self.shape.precision, self.widths());
        let near = if precision == Precision::F32 { 2e-6 } else { 6e-3 };
        for position in 0..sequence.done {
            for head in 0..self.shape.heads * self.group {
                let query = self.head(&sequence.queries, width, position, head);
                let scores = (0..=position).map(|p| {
                    let key = self.head(&sequence.keys, kv_width, p, head / self.group);
                    let dot: f64 =
                        query.iter().zip(key).map(|(q, k)| rounded(precision, *q) * rounded(precision, *k)).sum();
                    (dot / (self.shape.head_dim as f64).sqrt()).exp()
                });
                let scores: Vec<f64> = scores.collect();
                let total: f64 = scores.iter().sum();
                for (i, answer) in self.head(&sequence.answers, width, position, head).iter().enumerate() {
                    let value =
                        |p| rounded(precision, self.head(&sequence.inputs[2], kv_width, p, head / self.group)[i]);
                    let wanted: f64 = scores.iter().enumerate().map(|(p, s)| s / total * value(p)).sum();
                    let error = (f64::from(*answer) - wanted).abs();
                    assert!(error <= near, "{what} {position}.{head}[{i}]: {answer} is not {wanted}");
                }
            }
        }
    }
}

#[test]
fn answers_are_those_of_a_plain_softmax() {
    let lengths: [usize; 3] = if cfg!(miri) { [3, 17, 1] } else { [50, 17, 97] };
    for precision in [Precision::F32, Precision::Bf16] {
        for (heads, group, head_dim) in [(2, 1, 8), (1, 3, 16), (2, 3, 24), (2, 2, 64), (1, 5, 10)] {
            for compute in every_isa() {
                let mut scene = Scene::new(precision, heads, group, head_dim);
                let mut sequences: Vec<_> = (0..).zip(lengths).map(|(i, n)| scene.sequence(n, i)).collect();
                // A prompt in blocks beside others, then one position at a time.
                let first = lengths.map(|n| n.saturating_sub(5).max(1));
                let rests = lengths.iter().zip(first).map(|(n, first)| n - first);
                let steps: Vec<usize> = rests.collect();
                scene.step(&compute, &mut sequences.iter_mut().collect::<Vec<_>>(), &first);
                for i in 0..5 {
                    let mut going = sequences.iter_mut().zip(&steps).filter(|(_, rest)| i < **rest);
                    let mut going: Vec<_> = going.by_ref().map(|(sequence, _)| sequence).collect();
                    let rows = vec![1; going.len()];
                    scene.step(&compute, &mut going, &rows);
                }
                let what = format!("{} {precision} {heads} x {group} x {head_dim}", compute.isa().name());
                for sequence in &sequences {
                    assert_eq!(sequence.done * scene.widths()[0], sequence.inputs[0].len());
                    scene.check_rotation(sequence);
                    scene.check_answers(sequence, &what);
                }
            }
        }
    }
}

#[test]
fn a_position_has_the_same_bits_in_any_chunk_batch_and_team() {
    let length = if cfg!(miri) { 19 } else { 90 };
    for precision in [Precision::F32, Precision::Bf16] {
        for isa in every_isa().iter().map(Compute::isa) {
            let mut scene = Scene::new(precision, 2, 3, 24);
            let mut whole = scene.sequence(length, 1);
            scene.step(&compute(isa, 1), &mut [&mut whole], &[length]);
            for (threads, chunk) in [(1, 1), (2, 7), (3, 16), (2, 23)] {
                let compute = compute(isa, threads);
                let (mut same, mut other) = (scene.sequence(length, 1), scene.sequence(length, 2));
                // The neighbour runs ahead, on one side and then the other.
                scene.step(&compute, &mut [&mut other], &[3]);
                let mut turn = 0;
                while same.done < length {
                    let rows = chunk.min(length - same.done);
                    let others = usize::from(other.done < length);
                    turn += 1;
                    if turn % 2 == 0 {
                        scene.step(&compute, &mut [&mut other, &mut same], &[others, rows]);
                    } else {
                        scene.step(&compute, &mut [&mut same, &mut other], &[rows, others]);
                    }
                }
                let what = format!("{} {precision}, chunks of {chunk}, {threads} threads", isa.name());
                assert_eq!(bits(&whole.answers), bits(&same.answers), "{what}");
                assert_eq!(bits(&whole.keys), bits(&same.keys), "{what}");
            }
        }
    }
}

#[test]
fn a_cleared_page_is_as_good_as_a_new_one() {
    for compute in every_isa() {
        let mut scene = Scene::new(Precision::Bf16, 1, 1, 16);
        let (mut fresh, mut used, mut bad) = (scene.sequence(20, 1), scene.sequence(20, 1), scene.sequence(20, 2));
        bad.inputs.iter_mut().for_each(|input| input.fill(f32::NAN));
        scene.step(&compute, &mut [&mut fresh, &mut bad], &[20, 20]);
        assert!(fresh.answers.iter().all(|x| x.is_finite()) && bad.answers.iter().all(|x| x.is_nan()));
        used.pages = bad.pages;
        used.pages.iter_mut().for_each(Page::clear);
        scene.step(&compute, &mut [&mut used], &[20]);
        assert_eq!(bits(&fresh.answers), bits(&used.answers));
    }
}

#[test]
#[should_panic(expected = "a page that is shared")]
fn a_shared_page_is_not_written() {
    let scene = Scene::new(Precision::F32, 1, 1, 8);
    let mut buffers = CacheBuffers::default();
    let page = Page::new(scene.shape);
    buffers.begin(scene.shape).push([PageRef::Full(&page)].into_iter(), 0..1, 3);
}

#[test]
#[should_panic(expected = "17 positions in 1 pages")]
fn positions_need_pages() {
    let scene = Scene::new(Precision::F32, 1, 1, 8);
    let mut buffers = CacheBuffers::default();
    let mut page = Page::new(scene.shape);
    buffers.begin(scene.shape).push([PageRef::Own(&mut page)].into_iter(), 0..2, 15);
}

#[test]
fn large_scores_do_not_overflow() {
    for precision in [Precision::F32, Precision::Bf16] {
        for compute in every_isa() {
            let mut scene = Scene::new(precision, 1, 1, 8);
            let mut sequence = scene.sequence(20, 1);
            sequence.inputs[..2].iter_mut().flatten().for_each(|x| *x *= 1e4);
            scene.step(&compute, &mut [&mut sequence], &[20]);
            let largest = sequence.answers.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            assert!(largest <= 1.0 && largest > 0.1, "{} {largest}", compute.isa().name());
        }
    }
}

#[test]
#[should_panic(expected = "are taken")]
fn a_row_belongs_to_one_sequence() {
    let scene = Scene::new(Precision::F32, 1, 1, 8);
    let mut buffers = CacheBuffers::default();
    let (mut first, mut second) = (Page::new(scene.shape), Page::new(scene.shape));
    let mut batch = buffers.begin(scene.shape);
    batch.push([PageRef::Own(&mut first)].into_iter(), 1..4, 0);
    batch.push([PageRef::Own(&mut second)].into_iter(), 3..5, 0);
}
