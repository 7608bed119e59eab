//! Rotary position embedding in Hugging Face's layout (Su et al., arXiv 2104.09864).

/// Tables of cos and sin for every position: a pair is `(x_i, x_{i + d/2})`, its angle `p theta^(-2i/d)`.
#[derive(Debug)]
pub struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Rope {
    /// Tables for `positions` positions of heads of `head_dim` values.
    pub fn new(head_dim: usize, positions: usize, theta: f64) -> Self {
        let half = head_dim / 2;
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for i in 0..half {
                let angle = position as f64 / theta.powf(2.0 * i as f64 / head_dim as f64);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        Self { cos, sin, half }
    }

    /// The width of a head.
    pub(crate) fn head_dim(&self) -> usize {
        2 * self.half
    }

    /// The number of positions the tables hold.
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Cosines and sines of `position`, `head_dim / 2` of each.
    pub(super) fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let at = position * self.half..(position + 1) * self.half;
        (&self.cos[at.clone()], &self.sin[at])
    }

    /// Turns every head of `row` (heads x head_dim) to `position`, in place.
    pub(crate) fn rotate(&self, row: &mut [f32], position: usize) {
        self.turn(row, position, 1.0);
    }

    /// The inverse of [`Rope::rotate`], which is also its transpose and so its backward.
    pub(crate) fn rotate_back(&self, row: &mut [f32], position: usize) {
        self.turn(row, position, -1.0);
    }

    fn turn(&self, row: &mut [f32], position: usize, sign: f32) {
        let (cos, sin) = self.at(position);
        for head in row.chunks_exact_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * c - *b * s * sign, *b * c + *a * s * sign);
            }
        }
    }
}
