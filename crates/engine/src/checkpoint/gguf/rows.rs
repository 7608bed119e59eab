//! The order of rows of rotary projections.

/// Brings the rows of a q or k projection (or the elements of its bias) back into Hugging Face order.
///
/// llama.cpp's converter stores, for the llama architecture, rows 0, d/2, 1, d/2 + 1, ... of every head of width d, since
/// its rotation pairs neighbours while Hugging Face's pairs halves. Row 2 i + h of a stored head is row i + h d/2.
/// `values` is (heads * d, columns), row-major; d is even.
pub(crate) fn unpermute(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let head = values.len() / heads;
    let half = head / columns / 2;
    let mut result = Vec::with_capacity(values.len());
    for stored in values.chunks_exact(head) {
        for parity in 0..2 {
            for i in 0..half {
                let row = 2 * i + parity;
                result.extend_from_slice(&stored[row * columns..][..columns]);
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::unpermute;

    #[test]
    fn stored_pairs_become_halves() {
        // Two heads of width 6, one column.
        let stored = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0, 10.0, 13.0, 11.0, 14.0, 12.0, 15.0];
        let expected = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
        assert_eq!(unpermute(&stored, 2, 1), expected);
    }

    #[test]
    fn whole_rows_move() {
        let stored = [0.0, 0.5, 2.0, 2.5, 1.0, 1.5, 3.0, 3.5];
        assert_eq!(unpermute(&stored, 1, 2), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
    }
}
