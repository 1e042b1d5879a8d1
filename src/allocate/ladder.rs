//! Rounds of iterative pruning: how much is left after each of them, by the papers' own rates.
//!
//! | ladder | goes per round of what is left |
//! |---|---|
//! | Lottery Ticket (1803.03635, figure 2) | matrices 20 %, convolutions 10 % (15 % where there are six or more, as in its Conv-6), the output at half the rate of a matrix |
//! | Renda, Frankle, Carbin (2003.02389) | 20 % of all weights together |

use crate::model::Tensor;
use crate::recipe::Decimal;

/// What goes of matrices per round.
pub const RATE: f64 = 0.2;
/// What goes of convolutions.
const CONV: f64 = 0.1;
/// What goes of convolutions where there are [`MANY`].
const DEEP_CONV: f64 = 0.15;
/// Convolutions of the paper's Conv-6.
const MANY: usize = 6;

/// What is gone after `round` rounds at a rate.
#[must_use]
pub fn share(rate: f64, round: u32) -> Decimal {
    Decimal::from_f64(1.0 - (1.0 - rate).powi(round.min(10_000).cast_signed()), 15)
}

/// What is gone of each matrix after `round` rounds of the Lottery Ticket.
#[must_use]
pub fn lottery_ticket(matrices: &[&Tensor], round: u32) -> Vec<Decimal> {
    let output = super::output_of(matrices).map(|t| t.name.as_str());
    let shapes: Vec<(&[usize], bool)> =
        matrices.iter().map(|t| (t.shape.as_slice(), output == Some(t.name.as_str()))).collect();
    rates(&shapes).into_iter().map(|rate| share(rate, round)).collect()
}

/// The rate of each matrix, by its shape and whether it makes the output.
fn rates(matrices: &[(&[usize], bool)]) -> Vec<f64> {
    let convolutions = matrices.iter().filter(|(shape, _)| shape.len() > 2).count();
    let conv = if convolutions >= MANY { DEEP_CONV } else { CONV };
    let rate = |&(shape, output): &(&[usize], bool)| match () {
        () if shape.len() > 2 => conv,
        () if output => RATE / 2.0,
        () => RATE,
    };
    matrices.iter().map(rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Percent of all weights that are left.
    fn left(matrices: &[&[usize]], round: u32) -> f64 {
        let shapes: Vec<(&[usize], bool)> =
            matrices.iter().enumerate().map(|(i, shape)| (*shape, i + 1 == matrices.len())).collect();
        let size = |shape: &[usize]| shape.iter().product::<usize>() as f64;
        let total: f64 = matrices.iter().map(|shape| size(shape)).sum();
        let kept = |((shape, _), rate): (&(&[usize], bool), f64)| size(shape) * (1.0 - share(rate, round).to_f64());
        100.0 * shapes.iter().zip(rates(&shapes)).map(kept).sum::<f64>() / total
    }

    #[test]
    fn rounds_leave_what_the_papers_say() {
        let close = |found: f64, wanted: f64| assert!((found - wanted).abs() < 0.05, "{found} {wanted}");
        let lenet: &[&[usize]] = &[&[300, 784], &[100, 300], &[10, 100]];
        close(left(lenet, 7), 21.1);
        close(left(lenet, 15), 3.6);
        close(left(lenet, 3), 51.3);
        let conv2: &[&[usize]] = &[&[64, 3, 3, 3], &[64, 64, 3, 3], &[256, 16_384], &[256, 256], &[10, 256]];
        close(left(conv2, 11), 8.8);
        let conv4: &[&[usize]] = &[
            &[64, 3, 3, 3],
            &[64, 64, 3, 3],
            &[128, 64, 3, 3],
            &[128, 128, 3, 3],
            &[256, 8192],
            &[256, 256],
            &[10, 256],
        ];
        close(left(conv4, 12), 9.2);
        // Conv-6 as written has 2,261,184 weights; its table says 1.7 million, and 15.1 % where the rates come to 15.29 %.
        let conv6: &[&[usize]] = &[
            &[64, 3, 3, 3],
            &[64, 64, 3, 3],
            &[128, 64, 3, 3],
            &[128, 128, 3, 3],
            &[256, 128, 3, 3],
            &[256, 256, 3, 3],
            &[256, 4096],
            &[256, 256],
            &[10, 256],
        ];
        close(left(conv6, 10), 15.29);
    }

    #[test]
    fn renda_s_ladder() {
        let times = |round| 1.0 / (1.0 - share(RATE, round).to_f64());
        let ladder = [1.25, 1.56, 1.95, 2.44, 3.05, 3.81, 4.77, 5.96, 7.45, 9.31, 11.64];
        for (round, wanted) in (1..).zip(ladder) {
            assert!((times(round) - wanted).abs() < 0.006, "{round}: {}", times(round));
        }
        assert_eq!(share(RATE, 1).to_string(), "0.2");
        assert_eq!(share(RATE, 2).to_string(), "0.36");
        assert_eq!(share(RATE, u32::MAX).to_string(), "1");
    }
}
