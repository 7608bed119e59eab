//! Each row's soup, between the two thin products of the gate path.

use std::collections::BTreeMap;
use std::ops::Range;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};
use half::bf16;

use crate::values::{Value, rounded, values};

/// The ranks of one policy in one linear layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Which of the linear layers that are stacked together.
    pub part: usize,
    /// The policy.
    pub policy: usize,
    /// Its columns among all ranks.
    pub ranks: Range<usize>,
}

/// What stands for what among the stacked ranks of some linear layers that read the same.
#[derive(Debug, Clone)]
pub struct Ranks {
    policies: usize,
    /// (3, width): policy, first column of the same rank and part, and the next one or -1. Negative numbers as u32.
    columns: Tensor,
}

impl Ranks {
    /// `blocks` cover the columns from 0 on, in their order, for mixes of `policies` weights.
    ///
    /// # Errors
    /// When the blocks leave gaps or name a policy that there is not, and when the GPU fails.
    pub fn new(blocks: &[Block], policies: usize, device: &Device) -> Result<Self> {
        let mut width = 0;
        for block in blocks {
            if block.ranks.start != width || block.ranks.end < width || block.policy >= policies {
                bail!("ranks {:?} of policy {} of {policies} begin at column {width}", block.ranks, block.policy);
            }
            width = block.ranks.end;
        }
        let [mut policy, mut first, mut next] = [(); 3].map(|()| vec![u32::MAX; width]);
        let mut last: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
        for block in blocks {
            for (rank, column) in block.ranks.clone().enumerate() {
                let (start, before) = *last.entry((block.part, rank)).or_insert((column, column));
                if before != column {
                    next[before] = column as u32;
                }
                last.insert((block.part, rank), (start, column));
                (policy[column], first[column]) = (block.policy as u32, start as u32);
            }
        }
        let columns = Tensor::from_vec([policy, first, next].concat(), (3, width), device)?;
        Ok(Self { policies, columns })
    }

    /// `z ∘ g` of z = x A*ᵀ (rows, width): what B*ᵀ is multiplied with, of the type of z, on its device.
    ///
    /// `mixes` (rows, policies + 2) f32 holds each row's weights, its strength, and 1 for the method `factor`, whose rows get
    /// `w_i strength Σ_j w_j z_j` in place of `w_i strength z_i`. Rows of zeros give zeros, whatever z is.
    ///
    /// # Errors
    /// When a shape or type does not fit, and when the GPU fails.
    pub fn gate(&self, z: &Tensor, mixes: &Tensor) -> Result<Tensor> {
        z.apply_op3_no_bwd(mixes, &self.columns, &Gate { policies: self.policies })
    }
}

pub(crate) struct Gate {
    pub(crate) policies: usize,
}

impl Gate {
    /// Rows and width.
    pub(crate) fn sizes(&self, z: &Layout, mixes: &Layout, columns: &Layout) -> Result<(usize, usize)> {
        match (z.dims(), mixes.dims(), columns.dims()) {
            ([rows, width], [mixed, weights], [3, columns])
                if (rows, width) == (mixed, columns) && *weights == self.policies + 2 =>
            {
                Ok((*rows, *width))
            }
            _ => bail!("mixes {:?} and ranks {:?} do not fit {:?}", mixes.dims(), columns.dims(), z.dims()),
        }
    }

    /// The twin of the kernel.
    fn compute<T: Value>(&self, z: &[T], mixes: &[f32], columns: &[u32]) -> Vec<f32> {
        let width = columns.len() / 3;
        let (policy, links) = columns.split_at(width);
        let (first, next) = links.split_at(width);
        let mut u = Vec::with_capacity(z.len());
        for (row, mix) in mixes.chunks_exact(self.policies + 2).enumerate() {
            let z = &z[row * width..][..width];
            let (weights, strength, factor) = (mix, mix[self.policies], mix[self.policies + 1] != 0.0);
            u.extend((0..width).map(|column| {
                let gate = weights[policy[column] as usize] * strength;
                // Zero is zero: an infinity of a policy that this row does not want stays out of it.
                if gate == 0.0 {
                    return 0.0;
                }
                if !factor {
                    return z[column].get() * gate;
                }
                let mut value = 0.0;
                let mut j = first[column] as usize;
                while let Some(z) = z.get(j) {
                    let weight = weights[policy[j] as usize];
                    if weight != 0.0 {
                        value = weight.mul_add(z.get(), value);
                    }
                    j = next[j] as usize;
                }
                value * gate
            }));
        }
        u
    }
}

impl CustomOp3 for Gate {
    fn name(&self) -> &'static str {
        "soup_gate"
    }

    fn cpu_fwd(
        &self,
        z: &CpuStorage,
        z_layout: &Layout,
        mixes: &CpuStorage,
        mixes_layout: &Layout,
        columns: &CpuStorage,
        columns_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = self.sizes(z_layout, mixes_layout, columns_layout)?;
        let (mixes, columns) = (values::<f32>(mixes, mixes_layout)?, values::<u32>(columns, columns_layout)?);
        let u = match z {
            CpuStorage::F32(_) => rounded(self.compute(values::<f32>(z, z_layout)?, mixes, columns), DType::F32)?,
            CpuStorage::BF16(_) => rounded(self.compute(values::<bf16>(z, z_layout)?, mixes, columns), DType::BF16)?,
            _ => bail!("ranks of neither f32 nor bf16"),
        };
        Ok((u, Shape::from((rows, width))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        z: &CudaStorage,
        z_layout: &Layout,
        mixes: &CudaStorage,
        mixes_layout: &Layout,
        columns: &CudaStorage,
        columns_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        crate::cuda::gate(self, (z, z_layout), (mixes, mixes_layout), (columns, columns_layout))
    }
}
