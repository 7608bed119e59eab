//! The token after each row: the twin against the definitions in f64, the kernel's text against the twin.

use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tureen_cuda::{Change, Choices, Chosen, Draw, Rule, VOCABULARY, choose};

use super::host::{Program, as_u32, bytes};
use super::random;

static SANITIZED: LazyLock<Program> = LazyLock::new(|| Program::compile("choose.c", "address,undefined"));
/// Each thread of a block is one of the host's: what one writes and another one reads without a barrier in between ends it.
static RACED: LazyLock<Program> = LazyLock::new(|| Program::compile("choose.c", "thread"));

/// Rules, penalties and changes of some rows.
type Row = (Rule, f32, Vec<Change>);

fn draw(rng: &mut ChaCha8Rng, vocabulary: usize) -> Draw {
    let one_of = |rng: &mut ChaCha8Rng, most: usize| (rng.random_range(0..3) > 0).then(|| rng.random_range(1..=most));
    Draw {
        temperature: rng.random_range(0.2..3.0),
        top_k: one_of(rng, vocabulary).map(|k| k as u32),
        top_p: if rng.random() { 1.0 } else { rng.random_range(0.0..1.0) },
        min_p: if rng.random() { 0.0 } else { rng.random_range(0.0..0.5) },
        sorted: rng.random(),
        at: rng.random(),
    }
}

/// Rows of all kinds.
fn rows(seed: u64, count: usize, vocabulary: usize) -> Vec<Row> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = |kind: usize| {
        let rule = match kind % 4 {
            0 => Rule::Likeliest,
            1 => Rule::Given(rng.random_range(0..vocabulary as u32)),
            _ => Rule::Drawn(draw(&mut rng, vocabulary)),
        };
        let count = if kind.is_multiple_of(3) { rng.random_range(0..=vocabulary.min(9)) } else { 0 };
        let first = rng.random_range(0..vocabulary);
        let change =
            |i| Change { id: ((first + i) % vocabulary) as u32, bias: rng.random_range(-3.0..3.0), seen: rng.random() };
        let changes = (0..count).map(change).collect();
        (rule, 1.3, changes)
    };
    (0..count).map(&mut row).collect()
}

fn choices(rows: &[Row]) -> Choices {
    let mut choices = Choices::default();
    rows.iter().for_each(|(rule, penalty, changes)| choices.push(rule, *penalty, changes.iter().copied()));
    choices
}

fn twin(logits: &[f32], dtype: DType, rows: &[Row]) -> Vec<Chosen> {
    let shape = (rows.len(), logits.len() / rows.len());
    let logits = Tensor::from_slice(logits, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    choose(&logits, &choices(rows).upload(&Device::Cpu).unwrap()).unwrap()
}

fn kernel(program: &Program, logits: &[f32], dtype: DType, rows: &[Row]) -> Vec<Chosen> {
    let choices = choices(rows);
    let [orders, changes] = choices.tables();
    let copies = rows.iter().filter(|(_, _, changes)| !changes.is_empty()).count();
    let narrow: Vec<bf16> = logits.iter().map(|x| bf16::from_f32(*x)).collect();
    let wide = dtype == DType::F32;
    let logits_bytes = if wide { bytes(logits) } else { bytes(&narrow) };
    let sizes = [usize::from(wide), rows.len(), logits.len() / rows.len(), changes.len() / 2, copies];
    let words = as_u32(&program.run("choose", &sizes, &[logits_bytes, bytes(orders), bytes(changes)].concat()));
    words.as_chunks::<4>().0.iter().map(read).collect()
}

/// As src/choose reads it.
fn read([id, below, low, high]: &[u32; 4]) -> Chosen {
    let total = (u64::from(*high) << 32 | u64::from(*low)) as f64 / 2_f64.powi(44);
    let logprob = (f64::from(f32::from_bits(*below)) - total.ln()) as f32;
    if *id == u32::MAX { Chosen { id: None, logprob: f32::NAN } } else { Chosen { id: Some(*id), logprob } }
}

fn assert_bits(ours: &[Chosen], twin: &[Chosen], what: &str) {
    let bits = |chosen: &Chosen| (chosen.id, chosen.id.map(|_| chosen.logprob.to_bits()));
    assert_eq!(ours.iter().map(bits).collect::<Vec<_>>(), twin.iter().map(bits).collect::<Vec<_>>(), "{what}");
}

/// Logits as wide as a model's; some are equal.
fn logits(seed: u64, count: usize) -> Vec<f32> {
    random(seed, count).into_iter().map(|x| (x * 40.0).round() / 4.0 * if x > 0.9 { 1.5 } else { 1.0 }).collect()
}

/// The definitions, in f64: the token, its log-probability, and how far the draw is from the next token's share. `None` where
/// a filter's border is as near.
fn oracle(logits: &[f32], (rule, penalty, changes): &Row) -> Option<(u32, f64)> {
    let wide: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
    let largest = wide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = wide.iter().map(|x| (x - largest).exp()).sum();
    let mut changed = wide.clone();
    for change in changes {
        let x = &mut changed[change.id as usize];
        *x += f64::from(change.bias);
        if change.seen {
            *x = if *x > 0.0 { *x / f64::from(*penalty) } else { *x * f64::from(*penalty) };
        }
    }
    let top = changed.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let id = match rule {
        Rule::Given(id) => *id as usize,
        Rule::Likeliest => changed.iter().position(|x| *x == top).unwrap(),
        Rule::Drawn(draw) => drawn(&changed, top, draw)?,
    };
    Some((id as u32, wide[id] - largest - total.ln()))
}

/// How near to a border a sum may come before rounding may decide.
const NEAR: f64 = 1e-5;

fn drawn(values: &[f64], top: f64, draw: &Draw) -> Option<usize> {
    let mut all: Vec<(usize, f64)> =
        values.iter().map(|x| ((x - top) / f64::from(draw.temperature)).exp()).enumerate().collect();
    let limited = draw.top_k.is_some() || draw.top_p < 1.0 || draw.min_p > 0.0;
    if draw.sorted || limited {
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    if let Some(k) = draw.top_k {
        all.truncate(k as usize);
    }
    let sum = |all: &[(usize, f64)]| all.iter().map(|(_, weight)| weight).sum::<f64>();
    // With which of them the sum exceeds a goal.
    let exceeding = |all: &[(usize, f64)], goal: f64| {
        let mut mass = 0.0;
        let at = all.iter().position(|(_, weight)| {
            mass += weight;
            mass > goal
        })?;
        let near = (mass - goal).min(goal - (mass - all[at].1)) < NEAR * mass;
        (!near).then_some(at)
    };
    if draw.top_p < 1.0 {
        let last = exceeding(&all, f64::from(draw.top_p) * sum(&all))?;
        all.truncate(last + 1);
    }
    if all.iter().any(|(_, weight)| (weight / f64::from(draw.min_p) - 1.0).abs() < NEAR) {
        return None;
    }
    all.retain(|(_, weight)| *weight >= f64::from(draw.min_p));
    exceeding(&all, draw.at * sum(&all)).map(|at| all[at].0)
}

#[test]
fn tokens_are_those_of_the_definitions() {
    let mut compared = 0;
    for (seed, vocabulary) in [(1, 1), (2, 7), (3, 320), (4, 5000)] {
        let rows = rows(seed, 120, vocabulary);
        let logits = logits(seed, rows.len() * vocabulary);
        let chosen = twin(&logits, DType::F32, &rows);
        for ((logits, row), chosen) in logits.chunks_exact(vocabulary).zip(&rows).zip(&chosen) {
            let Some((id, logprob)) = oracle(logits, row) else { continue };
            assert_eq!(chosen.id, Some(id), "{row:?}");
            assert!((f64::from(chosen.logprob) - logprob).abs() < 1e-5, "{row:?}: {chosen:?}, not {logprob}");
            compared += 1;
        }
    }
    assert!(compared > 400, "{compared}");
}

/// Of many draws, each token gets its share.
#[test]
fn shares_are_those_of_the_weights() {
    let logits = [0.0_f32, 1.0, -1.0, 0.5];
    for sorted in [false, true] {
        let row = |i: u32| {
            let at = f64::from(i) / 1000.0;
            let draw = Draw { temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0, sorted, at };
            (Rule::Drawn(draw), 1.0, Vec::new())
        };
        let rows: Vec<Row> = (0..1000).map(row).collect();
        let chosen = twin(&logits.repeat(1000), DType::F32, &rows);
        let total: f32 = logits.iter().map(|x| x.exp()).sum();
        for (id, logit) in logits.iter().enumerate() {
            let share = chosen.iter().filter(|c| c.id == Some(id as u32)).count() as f32 / 1000.0;
            assert!((share - logit.exp() / total).abs() < 2e-3, "{id}: {share}");
        }
    }
}

#[test]
fn what_is_no_number_is_no_choice() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut logits = logits(1, 3 * 20);
        logits[27] = wrong;
        let rows = [Rule::Likeliest, Rule::Given(3), Rule::Likeliest].map(|rule| (rule, 1.0, Vec::new()));
        for dtype in [DType::F32, DType::BF16] {
            let chosen = twin(&logits, dtype, &rows);
            assert_eq!(chosen.iter().map(|c| c.id.is_some()).collect::<Vec<_>>(), [true, false, true]);
            assert_bits(&kernel(&SANITIZED, &logits, dtype, &rows), &chosen, "no number");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::Cpu;
    let zeros = |rows, vocabulary| Tensor::zeros((rows, vocabulary), DType::F32, &device).unwrap();
    let uploaded = |row: Row| choices(&[row]).upload(&device).unwrap();
    let change = Change { id: 10, bias: 0.0, seen: true };
    let (given, changed) =
        (uploaded((Rule::Given(10), 1.0, Vec::new())), uploaded((Rule::Likeliest, 1.0, vec![change])));
    for by in [&given, &changed] {
        choose(&zeros(1, 11), by).unwrap();
        choose(&zeros(1, 10), by).unwrap_err();
        choose(&zeros(2, 11), by).unwrap_err();
    }
    choose(&zeros(1, VOCABULARY + 1), &given).unwrap_err();
    choose(&zeros(1, 11).to_dtype(DType::F64).unwrap(), &given).unwrap_err();
}

/// Bit for bit: of few tokens and many, more than bins and no multiple of anything.
#[test]
fn the_kernel_chooses_what_its_twin_does() {
    for (seed, count, vocabulary) in [(1, 9, 1), (2, 40, 37), (3, 30, 1027), (4, 9, 20_011)] {
        let (rows, logits) = (rows(seed, count, vocabulary), logits(seed + 50, count * vocabulary));
        for dtype in [DType::F32, DType::BF16] {
            let expected = twin(&logits, dtype, &rows);
            assert_bits(&kernel(&SANITIZED, &logits, dtype, &rows), &expected, "with sanitizers");
        }
    }
}

/// All logits equal, so that ids alone decide; and so far apart that nothing but the likeliest weighs anything.
#[test]
fn equal_and_lonely_tokens_are_chosen_alike() {
    for logits in [vec![0.5; 8 * 700], (0..8 * 700).map(|i| -(((i % 700) * 31 % 700) as f32) * 100.0).collect()] {
        let rows = rows(9, 8, 700);
        assert_bits(&kernel(&SANITIZED, &logits, DType::F32, &rows), &twin(&logits, DType::F32, &rows), "equal");
    }
}

#[test]
fn threads_of_a_block_do_not_race() {
    let (rows, logits) = (rows(5, 24, 700), logits(55, 24 * 700));
    assert_bits(&kernel(&RACED, &logits, DType::BF16, &rows), &twin(&logits, DType::BF16, &rows), "with threads");
}
