//! One policy's change of one tensor, row by row.

use super::MergeError;
use crate::{LoraModule, Policy, PolicyWeights};

/// `D_i` of one tensor.
pub(crate) enum Delta<'a> {
    /// `scale · B A`
    LowRank {
        module: &'a LoraModule,
        /// A in f64, r x in: it is read once for each row.
        a: Vec<f64>,
    },
    /// `theta - base`
    Full { theta: Vec<f32>, base: &'a [f32] },
}

impl<'a> Delta<'a> {
    /// `None` when `policy` leaves the tensor as it is.
    pub(crate) fn of(
        policy: &'a Policy,
        name: &str,
        shape: &[usize],
        base: &'a [f32],
    ) -> Result<Option<Self>, MergeError> {
        let require = |found: &[usize]| match found == shape {
            true => Ok(()),
            false => Err(MergeError::Shape { name: name.to_owned(), shape: shape.to_vec(), found: found.to_vec() }),
        };
        match policy.weights() {
            PolicyWeights::Lora(lora) => {
                let Some(module) = lora.of_tensor(name) else { return Ok(None) };
                require(&[module.out_features, module.in_features])?;
                Ok(Some(Self::LowRank { module, a: module.a.iter().copied().map(f64::from).collect() }))
            }
            PolicyWeights::Full(full) => {
                let Some(found) = full.shape(name) else { return Ok(None) };
                require(found)?;
                Ok(full.checked_tensor(name)?.map(|theta| Self::Full { theta, base }))
            }
        }
    }

    /// Writes row `row` (values along the last axis) to `out`. `scale · Σ_k B[row][k] A[k]`, k ascending, in f64.
    pub(crate) fn row(&self, row: usize, out: &mut [f64]) {
        match self {
            Self::LowRank { module, a } => {
                let b = &module.b[row * module.rank..][..module.rank];
                product(b.iter().copied().map(f64::from), a, out);
                out.iter_mut().for_each(|out| *out *= module.scale);
            }
            Self::Full { theta, base } => {
                let start = row * out.len();
                let pairs = theta[start..].iter().zip(&base[start..]);
                out.iter_mut().zip(pairs).for_each(|(out, (theta, base))| *out = f64::from(*theta) - f64::from(*base));
            }
        }
    }

    /// The policy's own tensor, when it has one.
    pub(super) fn theta(&self) -> Option<&[f32]> {
        match self {
            Self::LowRank { .. } => None,
            Self::Full { theta, .. } => Some(theta),
        }
    }
}

/// `out = Σ_k b[k] a[k]`, k ascending; a is r x in, row-major.
pub(super) fn product(b: impl ExactSizeIterator<Item = f64>, a: &[f64], out: &mut [f64]) {
    let width = out.len();
    out.fill(0.0);
    let b: Vec<f64> = b.collect();
    let (fours, rest) = b.as_chunks::<4>();
    // Four rows of A for each pass over `out`, which is else what takes the time; the sums are the same.
    for ([b0, b1, b2, b3], a) in fours.iter().zip(a.chunks_exact(4 * width)) {
        let (a0, a) = a.split_at(width);
        let (a1, a) = a.split_at(width);
        let (a2, a3) = a.split_at(width);
        for ((((out, a0), a1), a2), a3) in out.iter_mut().zip(a0).zip(a1).zip(a2).zip(a3) {
            *out = *out + b0 * a0 + b1 * a1 + b2 * a2 + b3 * a3;
        }
    }
    for (b, a) in rest.iter().zip(a[4 * width * fours.len()..].chunks_exact(width)) {
        out.iter_mut().zip(a).for_each(|(out, a)| *out += b * a);
    }
}
