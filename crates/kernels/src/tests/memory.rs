#![allow(unsafe_code)]

use super::{bits, random, rows};
use crate::line::{Line, Lines};
use crate::{Compute, Isa, PAGE, Page, PageShape, Panels, Precision, Product, Team, Term};

/// Lines of buffers from below what shares a map to above it.
const LENGTHS: [usize; 8] = [0, 1, 1023, 1024, 5000, 30_000, 32_768, 40_000];

#[test]
fn lines_are_zero_and_nobody_elses() {
    let mut made: Vec<Lines> = Vec::new();
    for round in 0..if cfg!(miri) { 1 } else { 20 } {
        for (i, len) in LENGTHS.into_iter().enumerate() {
            let mut lines = Lines::new(len);
            assert_eq!(lines.as_slice().len(), len);
            assert!(lines.as_slice().iter().all(|line| *line == Line::ZERO));
            let mark = (made.len() + 1) as u32;
            lines.as_mut_slice().iter_mut().for_each(|line| *line.as_u32_mut() = [mark; 16]);
            made.push(lines);
            // Some go early, the one that began a chunk among them.
            if round % 3 == i % 3 {
                let last = made.len() - 1;
                made[last / 2] = Lines::new(0);
            }
        }
    }
    for (i, lines) in made.iter().enumerate() {
        assert!(lines.as_slice().iter().all(|line| *line.as_u32() == [i as u32 + 1; 16]), "buffer {i}");
    }
    // What they had is zero again for those who come.
    drop(made);
    for len in LENGTHS {
        assert!(Lines::new(len).as_slice().iter().all(|line| *line == Line::ZERO));
    }
}

#[test]
fn threads_pack_at_once() {
    let compute = Compute::new(Isa::PORTABLE, Team::new(1).expect("threads"));
    let (out, input) = if cfg!(miri) { (3, 2) } else { (130, 150) };
    let answer = |seed| {
        let w = Panels::pack(Precision::F32, out, input, &random(out * input, seed));
        let x = rows(Isa::PORTABLE, Precision::F32, input, &random(input, 0));
        let mut y = vec![0.0; out];
        compute.multiply(&mut [Product { terms: &[Term { x: x.view(), w: &w, first: 0 }], y: &mut y, add: false }]);
        bits(&y)
    };
    let answers = || (0..5).map(answer).collect::<Vec<_>>();
    let alone = answers();
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(answers)).collect();
        others.into_iter().for_each(|other| assert_eq!(other.join().expect("no panic"), alone));
    });
}

#[test]
fn pages_made_together_are_apart() {
    let shape = PageShape::new(3, 2, 40, Precision::Bf16);
    for count in [0, 1, 7, if cfg!(miri) { 8 } else { 150 }] {
        let mut pages = Page::several(shape, count);
        assert_eq!(pages.len(), count);
        for (i, page) in pages.iter_mut().enumerate() {
            // SAFETY: the page has as many lines, and is borrowed exclusively.
            let lines = unsafe { std::slice::from_raw_parts_mut(page.lines_mut(), shape.bytes() / 64) };
            assert!(lines.iter().all(|line| *line == Line::ZERO));
            lines.iter_mut().for_each(|line| *line.as_u32_mut() = [i as u32; 16]);
        }
        // The last one alive keeps the memory.
        let Some(mut last) = pages.pop() else { continue };
        pages.into_iter().for_each(|mut page| page.clear());
        // SAFETY: as above; only read.
        let lines = unsafe { std::slice::from_raw_parts(last.lines(), shape.bytes() / 64) };
        assert!(lines.iter().all(|line| *line.as_u32() == [count as u32 - 1; 16]));
        last.clear();
        assert!(shape.bytes_together(count) >= count * shape.bytes());
    }
    assert_eq!((shape.pages(0), shape.pages(1), shape.pages(PAGE + 1)), (0, 1, 2));
}
