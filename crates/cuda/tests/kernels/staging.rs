//! Sums of what is read piece by piece.

use candle_core::{DType, Device, Error, Tensor};
use half::bf16;
use proptest::prelude::*;
use tureen_cuda::{Job, Staging, sum, toward};

use super::{random, random_bf16, tensor, values};

proptest! {
    /// However small the buffers and odd the lengths: the sums of whole tensors, bit for bit.
    #[test]
    fn pieces_make_the_whole(count in 1_usize..7, length in 0_usize..700, bytes in 0_usize..2000, anchored: bool) {
        let sources: Vec<Vec<bf16>> = (0..count).map(|k| random_bf16(k as u64, length)).collect();
        let weights = random(9, count);
        let mut staging = Staging::new(&Device::Cpu, bytes).unwrap();
        let job = Job { weights: &weights, toward: anchored, length };
        // Twice: what the first sum left in the buffers is not in the second.
        for _ in 0..2 {
            let summed: Vec<f32> = staging
                .sum(&job, |range, to| {
                    assert_eq!(to.len(), count);
                    to.into_iter().zip(&sources).for_each(|(to, from)| to.copy_from_slice(&from[range.clone()]));
                    Ok::<_, Error>(())
                })
                .unwrap();
            let tensors: Vec<Tensor> = sources.iter().map(|s| tensor(s, length)).collect();
            let terms: Vec<(&Tensor, f32)> = tensors.iter().zip(weights.iter().copied()).collect();
            let whole = if anchored { toward(&terms, DType::F32) } else { sum(&terms, DType::F32) };
            prop_assert_eq!(summed, values(&whole.unwrap()));
        }
    }
}

#[test]
fn what_cannot_be_read_ends_the_sum_and_not_the_next() {
    let mut staging = Staging::new(&Device::Cpu, 0).unwrap();
    let job = Job { weights: &[1.0], toward: false, length: 1000 };
    let mut reads = 0;
    let broken = staging.sum(&job, |_, _| {
        reads += 1;
        if reads > 2 { Err(Error::msg("the file is gone")) } else { Ok(()) }
    });
    assert!(broken.unwrap_err().to_string().contains("the file is gone"));
    let ones = staging.sum(&job, |_, to| {
        to.into_iter().for_each(|to| to.fill(bf16::ONE));
        Ok::<_, Error>(())
    });
    assert_eq!(ones.unwrap(), vec![1.0; 1000]);
}
