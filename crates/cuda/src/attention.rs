//! Attention of rows that are one each of their sequences, over keys and values in places of one large cache.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, DType, InplaceOp3, Layout, Result, Shape, Tensor, bail};
use half::bf16;

use crate::values::{Value, rounded, values};

/// What stands in a table where a row has nothing.
pub const NOWHERE: u32 = u32::MAX;

/// Writes `x` (heads, rows, dim) to the places `slots` (rows) u32 of `cache` (heads, places, dim), in place.
///
/// # Errors
/// When shapes or types do not fit each other, a slot is beyond the places (on the CPU; on a GPU that is the caller's to
/// prevent), and when the GPU fails.
pub fn store(cache: &Tensor, x: &Tensor, slots: &Tensor) -> Result<()> {
    if !(cache.dtype() == x.dtype() && matches!(x.dtype(), DType::F32 | DType::BF16)) {
        bail!("{:?} is stored among {:?}", x.dtype(), cache.dtype());
    }
    cache.inplace_op3(x, slots, &Store)
}

/// `softmax(scale q kᵀ) v` of each row: `q` (queries, rows, dim) with keys and values (heads, places, dim) at the places of
/// `table` (rows, context) u32, [`NOWHERE`] where a row has no more. Neighbouring queries share a head. Scores and shares are
/// f32. To (rows, queries x dim), of the type of the values.
///
/// # Errors
/// As [`store`]; and for a table without columns.
pub fn attend(q: &Tensor, [keys, values]: [&Tensor; 2], table: &Tensor, scale: f32) -> Result<Tensor> {
    let scores = q.apply_op3_no_bwd(keys, table, &Scores { scale })?;
    // Over rows of their own: a row of nothing but minus infinity does not come here, as each row sees itself.
    let largest = scores.max_keepdim(2)?;
    let shares = scores.broadcast_sub(&largest)?.exp()?;
    let shares = shares.broadcast_div(&shares.sum_keepdim(2)?)?;
    shares.apply_op3_no_bwd(values, table, &Mix)
}

struct Store;
struct Scores {
    scale: f32,
}
struct Mix;

/// Sizes of an operation over a cache.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) queries: usize,
    pub(crate) heads: usize,
    pub(crate) rows: usize,
    pub(crate) context: usize,
    pub(crate) dim: usize,
    pub(crate) places: usize,
}

impl Sizes {
    /// `x` (queries, rows, dim or context), `cache` (heads, places, dim), `table` (rows, context).
    pub(crate) fn of(x: &Layout, cache: &Layout, table: &Layout) -> Result<Self> {
        match (x.dims(), cache.dims(), table.dims()) {
            (&[queries, rows, _], &[heads, places, dim], &[own, context])
                if rows == own && heads > 0 && queries.is_multiple_of(heads) && context > 0 =>
            {
                Ok(Self { queries, heads, rows, context, dim, places })
            }
            _ => bail!("{:?} attends to {:?} by {:?}", x.dims(), cache.dims(), table.dims()),
        }
    }

    /// First value of a place of the head that `query` shares.
    fn place(&self, query: usize, place: u32) -> usize {
        (query / (self.queries / self.heads) * self.places + place as usize) * self.dim
    }
}

/// Heads, rows and dimension of what is stored, and the places.
pub(crate) fn store_sizes(cache: &Layout, x: &Layout, slots: &Layout) -> Result<[usize; 4]> {
    match (cache.dims(), x.dims(), slots.dims()) {
        (&[heads, places, dim], &[own, rows, width], &[slots])
            if (heads, dim, rows) == (own, width, slots) && dim.is_multiple_of(2) =>
        {
            Ok([heads, rows, dim, places])
        }
        _ => bail!("{:?} is stored in {:?} at {:?}", x.dims(), cache.dims(), slots.dims()),
    }
}

fn written<T: Value>(cache: &mut [T], x: &[T], slots: &[u32], [_, rows, dim, places]: [usize; 4]) -> Result<()> {
    for (at, x) in x.chunks_exact(dim).enumerate() {
        let (head, slot) = (at / rows, slots[at % rows] as usize);
        if slot >= places {
            bail!("there is no place {slot} among {places}");
        }
        cache[(head * places + slot) * dim..][..dim].copy_from_slice(x);
    }
    Ok(())
}

impl InplaceOp3 for Store {
    fn name(&self) -> &'static str {
        "soup_store"
    }

    fn cpu_fwd(
        &self,
        cache: &mut CpuStorage,
        cache_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
        slots: &CpuStorage,
        slots_layout: &Layout,
    ) -> Result<()> {
        let sizes = store_sizes(cache_layout, x_layout, slots_layout)?;
        let Some((start, end)) = cache_layout.contiguous_offsets() else {
            bail!("the cache does not lie in one piece")
        };
        let slots = values::<u32>(slots, slots_layout)?;
        match cache {
            CpuStorage::F32(cache) => written(&mut cache[start..end], values::<f32>(x, x_layout)?, slots, sizes),
            CpuStorage::BF16(cache) => written(&mut cache[start..end], values::<bf16>(x, x_layout)?, slots, sizes),
            _ => bail!("a cache of neither f32 nor bf16"),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        cache: &mut CudaStorage,
        cache_layout: &Layout,
        x: &CudaStorage,
        x_layout: &Layout,
        slots: &CudaStorage,
        slots_layout: &Layout,
    ) -> Result<()> {
        crate::cuda::store((cache, cache_layout), (x, x_layout), (slots, slots_layout))
    }
}

impl Scores {
    /// The twin of the kernel.
    fn compute<T: Value>(&self, q: &[T], keys: &[T], table: &[u32], sizes: Sizes) -> Vec<f32> {
        let Sizes { queries, rows, context, dim, .. } = sizes;
        let score = |at: usize| {
            let query = at / context;
            let place = table[query % rows * context + at % context];
            if place == NOWHERE {
                return f32::NEG_INFINITY;
            }
            let pairs = q[query * dim..][..dim].iter().zip(&keys[sizes.place(query / rows, place)..][..dim]);
            pairs.fold(0.0_f32, |sum, (q, k)| q.get().mul_add(k.get(), sum)) * self.scale
        };
        (0..queries * rows * context).map(score).collect()
    }
}

impl CustomOp3 for Scores {
    fn name(&self) -> &'static str {
        "soup_scores"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(q_layout, keys_layout, table_layout)?;
        if q_layout.dims()[2] != sizes.dim {
            bail!("queries {:?} do not fit keys {:?}", q_layout.dims(), keys_layout.dims());
        }
        let table = values::<u32>(table, table_layout)?;
        let scores = match q {
            CpuStorage::F32(_) => self.compute::<f32>(values(q, q_layout)?, values(keys, keys_layout)?, table, sizes),
            CpuStorage::BF16(_) => self.compute::<bf16>(values(q, q_layout)?, values(keys, keys_layout)?, table, sizes),
            _ => bail!("queries of neither f32 nor bf16"),
        };
        Ok((CpuStorage::F32(scores), Shape::from((sizes.queries, sizes.rows, sizes.context))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        q: &CudaStorage,
        q_layout: &Layout,
        keys: &CudaStorage,
        keys_layout: &Layout,
        table: &CudaStorage,
        table_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        crate::cuda::scores(self.scale, (q, q_layout), (keys, keys_layout), (table, table_layout))
    }
}

/// The twin of the kernel.
fn mixed<T: Value>(shares: &[f32], values: &[T], table: &[u32], sizes: Sizes) -> Vec<f32> {
    let Sizes { queries, rows, context, dim, .. } = sizes;
    let value = |at: usize| {
        let (query, row) = (at / dim % queries, at / dim / queries);
        let shares = &shares[(query * rows + row) * context..][..context];
        let own = table[row * context..][..context].iter().zip(shares).filter(|(place, _)| **place != NOWHERE);
        own.fold(0.0_f32, |sum, (place, share)| share.mul_add(values[sizes.place(query, *place) + at % dim].get(), sum))
    };
    (0..rows * queries * dim).map(value).collect()
}

impl CustomOp3 for Mix {
    fn name(&self) -> &'static str {
        "soup_mix"
    }

    fn cpu_fwd(
        &self,
        shares: &CpuStorage,
        shares_layout: &Layout,
        cache: &CpuStorage,
        cache_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::of(shares_layout, cache_layout, table_layout)?;
        if shares_layout.dims()[2] != sizes.context {
            bail!("shares {:?} do not fit a table {:?}", shares_layout.dims(), table_layout.dims());
        }
        let (shares, table) = (values::<f32>(shares, shares_layout)?, values::<u32>(table, table_layout)?);
        let storage = match cache {
            CpuStorage::F32(_) => {
                rounded(mixed::<f32>(shares, values(cache, cache_layout)?, table, sizes), DType::F32)?
            }
            CpuStorage::BF16(_) => {
                rounded(mixed::<bf16>(shares, values(cache, cache_layout)?, table, sizes), DType::BF16)?
            }
            _ => bail!("values of neither f32 nor bf16"),
        };
        Ok((storage, Shape::from((sizes.rows, sizes.queries * sizes.dim))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        shares: &CudaStorage,
        shares_layout: &Layout,
        cache: &CudaStorage,
        cache_layout: &Layout,
        table: &CudaStorage,
        table_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        crate::cuda::mix((shares, shares_layout), (cache, cache_layout), (table, table_layout))
    }
}
