//! The best K centroids of a unit: one-dimensional k-means solved exactly, whatever K, in memory of a few numbers per value.
//!
//! In one dimension the clusters of the optimum are runs of neighbours, so that it is a shortest path with K links over the
//! ordered values, and the cost of a link has the Monge property. A price λ on every link makes the number of links free: the
//! shortest path is then one walk with a queue of candidates (Galil and Park 1990), and its number of links falls as λ rises.
//! Where the price jumps over K, two paths of equal price are spliced into one of K links (Aggarwal, Schieber and Tokuyama
//! 1994; for k-means Grønlund et al. 2017).

use super::Real;
use super::codebook::{Ordered, settled};

/// Values that are told apart at most, which bounds memory; of more, neighbours are taken together, and Lloyd's rounds over all
/// of them move the ends of runs to where they belong.
pub const DISTINCT: usize = 1 << 21;
/// Prices tried by the shape of the curve before it is bracketed.
const GUESSES: usize = 16;
/// Differences of price below this share are none.
const NOTHING: f64 = 1e-13;
/// Links walked between two looks at whether to go on.
const WATCH: usize = 1 << 16;

/// Centroids of the partition into at most `k` runs with the least Σ(w − q)². `go_on` is asked now and then.
///
/// # Errors
/// Those of `go_on`.
pub fn best<T: Real, E>(ordered: &Ordered<T>, k: usize, go_on: impl FnMut() -> Result<(), E>) -> Result<Vec<f32>, E> {
    best_of(ordered, k, DISTINCT, go_on)
}

/// [`best`] with `most` values told apart.
fn best_of<T: Real, E>(
    ordered: &Ordered<T>,
    k: usize,
    most: usize,
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<Vec<f32>, E> {
    let (costs, together) = Costs::of(ordered, most);
    let n = costs.len();
    if n == 0 {
        return Ok(vec![0.0; k]);
    }
    let cuts = if n <= k { (0..=n).collect() } else { costs.cuts(k, &mut go_on)? };
    let mut centroids: Vec<f32> = cuts.windows(2).map(|link| costs.mean(link[0], link[1]) as f32).collect();
    // Fewer values than centroids: those left over are never the first of equals.
    let last = centroids.last().copied().unwrap_or_default();
    centroids.resize(k, last);
    if together > 1 {
        centroids = settled(centroids, |bounds| go_on().map(|()| ordered.cells(bounds)))?;
    }
    Ok(centroids)
}

/// Running sums over distinct values, from which the cost of a run is one expression.
struct Costs {
    /// Taken off every value, so that little is lost when squares are subtracted.
    centre: f64,
    weight: Vec<f64>,
    sum: Vec<f64>,
    square: Vec<f64>,
}

/// A path: where its links end, 0 first, the number of values last.
type Path = Vec<usize>;

/// A candidate for the last stop before the places from `from` on.
#[derive(Clone, Copy)]
struct Candidate {
    stop: usize,
    from: usize,
}

impl Costs {
    /// Those of values in order, and how many neighbours count as one so that there are no more than `most`.
    fn of<T: Real>(ordered: &Ordered<T>, most: usize) -> (Self, usize) {
        let all = ordered.cells(&[]);
        let centre = all.first().map_or(0.0, |all| all.mean());
        let mut costs = Self { centre, weight: vec![0.0], sum: vec![0.0], square: vec![0.0] };
        let distinct = ordered.values.chunk_by(|a, b| a == b).count();
        let together = distinct.div_ceil(most).max(1);
        let [mut weight, mut sum, mut square] = [0.0_f64; 3];
        let (mut at, mut seen) = (0, 0);
        for run in ordered.values.chunk_by(|a, b| a == b) {
            let count = (at..at + run.len()).map(|i| ordered.count(i)).sum::<u64>() as f64;
            at += run.len();
            seen += 1;
            let value = run[0].to_f64() - centre;
            weight += count;
            sum += count * value;
            square += count * value * value;
            if seen % together == 0 || seen == distinct {
                costs.weight.push(weight);
                costs.sum.push(sum);
                costs.square.push(square);
            }
        }
        (costs, together)
    }

    fn len(&self) -> usize {
        self.weight.len() - 1
    }

    fn mean(&self, start: usize, end: usize) -> f64 {
        self.centre + (self.sum[end] - self.sum[start]) / (self.weight[end] - self.weight[start])
    }

    /// Σ(w − mean)² over a run.
    #[inline(always)]
    fn cost(&self, start: usize, end: usize) -> f64 {
        let sum = self.sum[end] - self.sum[start];
        let spread = self.square[end] - self.square[start] - sum * sum / (self.weight[end] - self.weight[start]);
        if spread > 0.0 { spread } else { 0.0 }
    }

    fn total(&self, path: &Path) -> f64 {
        path.windows(2).map(|link| self.cost(link[0], link[1])).sum()
    }

    /// The best path of `k` links, fewer than there are values.
    fn cuts<E>(&self, k: usize, go_on: &mut impl FnMut() -> Result<(), E>) -> Result<Path, E> {
        let n = self.len();
        // Too few links and too many, with what each costs; the price at which each is best.
        let mut few: (Path, f64) = (vec![0, n], self.cost(0, n));
        let mut many: (Path, f64) = ((0..=n).collect(), 0.0);
        let links = |path: &(Path, f64)| path.0.len() - 1;
        if k <= 1 || few.1 == 0.0 {
            return Ok(few.0);
        }
        let (mut dear, mut cheap): (Option<f64>, Option<f64>) = (None, None);
        for guess in 0.. {
            if links(&few) == k {
                return Ok(few.0);
            }
            let even = (few.1 - many.1) / (links(&many) - links(&few)) as f64;
            // Costs fall about as k⁻², prices as k⁻³; later the price of the line between both, which finds every corner.
            let price = match (dear, cheap) {
                _ if guess >= GUESSES => even,
                (None, None) => 2.0 * few.1 / (k as f64).powi(3),
                (Some(dear), None) => dear * (links(&few) as f64 / k as f64).powi(3),
                (None, Some(cheap)) => cheap * (links(&many) as f64 / k as f64).powi(3),
                (Some(dear), Some(cheap)) => {
                    let way = (k as f64 / links(&few) as f64).ln() / (links(&many) as f64 / links(&few) as f64).ln();
                    (dear.ln() + way * (cheap.ln() - dear.ln())).exp()
                }
            };
            let path = self.walk(price, go_on)?;
            let found = (self.total(&path), path.len() - 1);
            if found.1 == k {
                return Ok(path);
            }
            let line = few.1 + price * links(&few) as f64;
            let lower = found.0 + price * (found.1 as f64) < line - NOTHING * line.abs();
            let between = links(&few) < found.1 && found.1 < links(&many);
            if guess >= GUESSES && !(lower && between) {
                return Ok(spliced(&few.0, &many.0, k));
            }
            if found.1 < k && links(&few) <= found.1 {
                (few, dear) = ((path, found.0), Some(price));
            } else if found.1 > k && found.1 <= links(&many) {
                (many, cheap) = ((path, found.0), Some(price));
            }
        }
        Ok(few.0)
    }

    /// The cheapest path when every link costs `price` besides.
    fn walk<E>(&self, price: f64, go_on: &mut impl FnMut() -> Result<(), E>) -> Result<Path, E> {
        let n = self.len();
        let mut least = vec![0.0_f64; n + 1];
        let mut stop_before = vec![0_u32; n + 1];
        // A queue whose front moves on: each candidate is best from its place to that of the next.
        let (mut queue, mut front) = (vec![Candidate { stop: 0, from: 1 }], 0);
        for place in 1..=n {
            if place % WATCH == 0 {
                go_on()?;
            }
            while queue.get(front + 1).is_some_and(|next| next.from <= place) {
                front += 1;
            }
            let stop = queue[front].stop;
            least[place] = least[stop] + self.cost(stop, place) + price;
            stop_before[place] = stop as u32;
            if place < n {
                self.enqueue(&least, place, &mut queue, front);
            }
        }
        let mut path = vec![n];
        let mut at = n;
        while at > 0 {
            at = stop_before[at] as usize;
            path.push(at);
        }
        path.reverse();
        Ok(path)
    }

    /// Gives a new stop the places at the end that it is better for than every stop before it.
    fn enqueue(&self, least: &[f64], stop: usize, queue: &mut Vec<Candidate>, front: usize) {
        let n = self.len();
        let better = |than: usize, at: usize| least[stop] + self.cost(stop, at) < least[than] + self.cost(than, at);
        while queue.len() > front + 1
            && queue.last().is_some_and(|last| last.from > stop && better(last.stop, last.from))
        {
            queue.pop();
        }
        let Some(&last) = queue.last() else { return };
        if !better(last.stop, n) {
            return;
        }
        // It is not better here and better at the end: strides that double, then halves. Stops take over at nearly the same
        // distance each, so a few steps do.
        let (mut not, mut yes, mut stride) = (last.from.max(stop), n, 1);
        while not + stride < yes {
            if better(last.stop, not + stride) {
                yes = not + stride;
                break;
            }
            (not, stride) = (not + stride, stride * 2);
        }
        while not + 1 < yes {
            let middle = usize::midpoint(not, yes);
            if better(last.stop, middle) { yes = middle } else { not = middle }
        }
        queue.push(Candidate { stop, from: yes });
    }
}

/// A path of `k` links out of two of equal price with fewer and with more: where a link of one lies within a link of the
/// other at the right distance, the Monge property says that crossing over costs nothing.
fn spliced(few: &Path, many: &Path, k: usize) -> Path {
    let ahead = k - (few.len() - 1);
    let crossing = (0..few.len() - 1).find(|&i| many[i + ahead + 1] <= few[i + 1]).unwrap_or(few.len() - 2);
    many[..=crossing + ahead].iter().chain(&few[crossing + 1..]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn run(values: &[f64], k: usize) -> (Vec<f32>, f64) {
        let ordered = Ordered::of(values.to_vec());
        let found = best(&ordered, k, || Ok::<_, Infallible>(())).unwrap();
        let error = |w: f64| found.iter().map(|&c| (w - f64::from(c)).powi(2)).fold(f64::INFINITY, f64::min);
        let total = values.iter().map(|&w| error(w)).sum();
        (found, total)
    }

    /// The specification: dynamic programming over all ends of all runs.
    fn plainly(values: &[f64], k: usize) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let cost = |i: usize, j: usize| {
            let mean = sorted[i..j].iter().sum::<f64>() / (j - i) as f64;
            sorted[i..j].iter().map(|w| (w - mean).powi(2)).sum::<f64>()
        };
        let mut least = vec![f64::INFINITY; n + 1];
        least[0] = 0.0;
        for _ in 0..k {
            let before = least.clone();
            for j in 1..=n {
                least[j] = (0..j).map(|i| before[i] + cost(i, j)).fold(before[j], f64::min);
            }
        }
        least[n]
    }

    #[test]
    fn it_is_the_optimum_of_dynamic_programming() {
        let mut state = 7_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1_u64 << 31) as f64
        };
        for round in 0..40 {
            let n = 3 + round * 2;
            // Spread, heavy-tailed, on a coarse lattice (full of ties), and mirrored (pairs of equal splits).
            let mut values: Vec<f64> = (0..n)
                .map(|_| match round % 4 {
                    0 => uniform() - 0.5,
                    1 => (uniform() - 0.5).powi(5) * 40.0,
                    2 => (uniform() * 12.0).floor(),
                    _ => (uniform() * 1000.0).floor(),
                })
                .collect();
            if round % 4 == 3 {
                values.extend(values.clone().iter().map(|w| -w));
            }
            for k in [1, 2, 3, 4, 7, 16] {
                let (centroids, error) = run(&values, k);
                let wanted = plainly(&values, k);
                assert!((error - wanted).abs() <= 1e-6 * wanted + 1e-9, "{round} {n} {k}: {error} {wanted}");
                assert_eq!(centroids.len(), k);
                assert!(centroids.is_sorted());
            }
        }
    }

    #[test]
    fn equal_prices_are_spliced_into_any_number_of_links() {
        // Evenly spaced pairs: every split of a pair saves the same, so the price jumps from 8 links to 16.
        let values: Vec<f64> = (0..16).map(|i| f64::from(i / 2 * 100 + i % 2)).collect();
        for k in 8..=16 {
            assert_eq!(run(&values, k).1, (16 - k) as f64 * 0.5, "{k}");
        }
    }

    #[test]
    fn neighbours_taken_together_are_parted_again() {
        let values: Vec<f64> = (0..6000_u32)
            .map(|i| (f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.4).powi(3))
            .collect();
        let ordered = Ordered::of(values.clone());
        for k in [2, 5, 16] {
            let error = |most: usize| {
                let found = best_of(&ordered, k, most, || Ok::<_, Infallible>(())).unwrap();
                let least = |w: f64| found.iter().map(|&c| (w - f64::from(c)).powi(2)).fold(f64::INFINITY, f64::min);
                values.iter().map(|&w| least(w)).sum::<f64>()
            };
            let (exact, coarse) = (error(6000), error(600));
            // Ten to one, as twenty million distinct weights would be; Lloyd's rounds may end in a neighbouring optimum.
            assert!(coarse <= exact * 1.000_2, "{k}: {exact} {coarse}");
        }
    }

    #[test]
    fn it_is_never_worse_than_lloyd_and_stops_when_told() {
        let values: Vec<f64> = (0..200_000_u32)
            .map(|i| (f64::from(i.wrapping_mul(2_654_435_761) >> 8) / 16_777_216.0 - 0.5).powi(3))
            .collect();
        let ordered = Ordered::of(values.clone());
        for k in [4, 16, 256] {
            let lloyd =
                crate::kernels::codebook::lloyd(k, ordered.ends(), |b| Ok::<_, Infallible>(ordered.cells(b))).unwrap();
            let error = |centroids: &[f32], w: f64| {
                let at = centroids.partition_point(|&c| f64::from(c) < w);
                let near = [at.saturating_sub(1), at.min(k - 1)];
                near.map(|i| (w - f64::from(centroids[i])).powi(2)).into_iter().fold(f64::INFINITY, f64::min)
            };
            let found = best(&ordered, k, || Ok::<_, Infallible>(())).unwrap();
            let [mine, theirs] = [&found, &lloyd].map(|c| values.iter().map(|&w| error(c, w)).sum::<f64>());
            assert!(mine <= theirs * (1.0 + 1e-9), "{k}: {mine} {theirs}");
        }
        assert_eq!(best(&ordered, 16, || Err("stop")), Err("stop"));
        assert_eq!(run(&[], 3).0, [0.0; 3]);
        assert_eq!(run(&[2.0, 2.0], 3).0, [2.0; 3]);
    }
}
