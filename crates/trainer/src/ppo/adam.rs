//! Adam (Kingma and Ba, arXiv 1412.6980) over the adapter and the value head.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

use crate::ops::to_vec;

/// First and second moments of every parameter, in the order of the variables, and the updates made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdamState {
    /// Means of the gradients.
    pub first: Vec<Vec<f32>>,
    /// Means of the squared gradients.
    pub second: Vec<Vec<f32>>,
    /// Updates made.
    pub updates: u64,
}

/// The optimiser: betas .9 and .999, epsilon 1e-8, no weight decay.
pub struct Adam {
    variables: Vec<Var>,
    /// What a resumed run continues with.
    pub state: AdamState,
    lr: f64,
    max_grad_norm: f64,
}

impl Adam {
    /// An optimiser of `variables` at learning rate `lr`; gradients longer than `max_grad_norm` are shortened to it.
    pub fn new(variables: Vec<Var>, lr: f64, max_grad_norm: f64) -> Self {
        let zeros: Vec<Vec<f32>> = variables.iter().map(|var| vec![0.0; var.elem_count()]).collect();
        let state = AdamState { first: zeros.clone(), second: zeros, updates: 0 };
        Self { variables, state, lr, max_grad_norm }
    }

    /// Another learning rate from the next update on.
    pub fn set_learning_rate(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// One update; returns the length of the whole gradient before clipping.
    ///
    /// # Errors
    /// A gradient of another shape than its variable.
    pub fn step(&mut self, grads: &GradStore) -> Result<f64> {
        let mut all = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            all.push(match grads.get(variable) {
                Some(grad) => to_vec(grad)?,
                None => vec![0.0; variable.elem_count()],
            });
        }
        let norm = all.iter().flatten().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        let shorten = if norm > self.max_grad_norm { self.max_grad_norm / norm } else { 1.0 };
        self.state.updates += 1;
        let power = self.state.updates as i32;
        let (correct_first, correct_second) = (1.0 - 0.9f64.powi(power), 1.0 - 0.999f64.powi(power));
        let moments = self.state.first.iter_mut().zip(&mut self.state.second);
        for ((variable, grad), (first, second)) in self.variables.iter().zip(&all).zip(moments) {
            let mut values = to_vec(variable)?;
            for (((value, &grad), m), v) in values.iter_mut().zip(grad).zip(first).zip(second) {
                let grad = f64::from(grad) * shorten;
                *m = (0.9 * f64::from(*m) + 0.1 * grad) as f32;
                *v = (0.999 * f64::from(*v) + 0.001 * grad * grad) as f32;
                let step = f64::from(*m) / correct_first / ((f64::from(*v) / correct_second).sqrt() + 1e-8);
                *value -= (self.lr * step) as f32;
            }
            variable.set(&Tensor::from_vec(values, variable.shape(), variable.device())?)?;
        }
        Ok(norm)
    }
}
