//! Relative indices as `packed` stores them: before each nonzero the number of zeros since the last, in blocks that stand alone.
//!
//! The scheme is Deep Compression's (Han, Mao and Dally 2016, §2): a gap takes an index of r bits, and one that does not fit is
//! bridged by fillers. Two things differ. A filler is an index by itself, the largest one, and stands for that many zeros:
//! it needs no code, so it is cheaper and works with codes that know no 0. And a tensor is cut into blocks of 65,536
//! elements whose gaps count from the block's start, so that any block can be read without those before it.

use super::Real;

/// Elements of a block.
pub const BLOCK: usize = 1 << 16;

/// Widths of an index in bits.
pub const WIDTHS: std::ops::RangeInclusive<u32> = 2..=8;

/// The index that is a filler at a width of `bits`: it stands for as many zeros, and for no nonzero.
#[must_use]
pub const fn filler(bits: u32) -> usize {
    (1 << bits) - 1
}

/// How often each length of gap occurs in a run of elements; runs that follow each other are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GapCounts {
    start: usize,
    end: usize,
    /// The first nonzero, when its gap reaches before the run.
    open: Option<usize>,
    last: Option<usize>,
    lengths: Vec<u64>,
}

impl GapCounts {
    /// An empty run that begins at element `start` of its tensor.
    #[must_use]
    pub fn at(start: usize) -> Self {
        Self { start, end: start, ..Self::default() }
    }

    /// Appends elements.
    pub fn add<T: Real>(&mut self, values: &[T]) {
        let mut rest = values;
        while !rest.is_empty() {
            // A word of elements lies within a block: blocks are multiples of 64.
            let (word, next) = rest.split_at(rest.len().min(64 - self.end % 64));
            let mut mask = 0_u64;
            for (i, value) in word.iter().enumerate() {
                mask |= u64::from(*value != T::ZERO) << i;
            }
            if mask == u64::MAX {
                self.mark(self.end);
                self.count(0, 63);
                self.last = Some(self.end + 63);
            } else {
                while mask != 0 {
                    self.mark(self.end + mask.trailing_zeros() as usize);
                    mask &= mask - 1;
                }
            }
            self.end += word.len();
            rest = next;
        }
    }

    /// Takes in the nonzero at `place`, which lies behind all others.
    #[inline]
    fn mark(&mut self, place: usize) {
        let block = place - place % BLOCK;
        match self.last {
            Some(last) if last >= block => self.count(place - last - 1, 1),
            None if block < self.start => self.open = Some(place),
            _ => self.count(place - block, 1),
        }
        self.last = Some(place);
    }

    #[inline]
    fn count(&mut self, gap: usize, times: u64) {
        if gap >= self.lengths.len() {
            self.lengths.resize((gap + 1).next_power_of_two().max(64), 0);
        }
        self.lengths[gap] += times;
    }

    /// Joins the run that follows this one.
    #[must_use]
    pub fn merge(mut self, next: Self) -> Self {
        if let Some(place) = next.open {
            self.mark(place);
        }
        for (gap, &times) in next.lengths.iter().enumerate().filter(|&(_, &times)| times > 0) {
            self.count(gap, times);
        }
        self.last = next.last.or(self.last);
        self.end = next.end;
        self
    }

    /// How often each index of `bits` bits is written for a run from a tensor's start.
    #[must_use]
    pub fn indices(&self, bits: u32) -> Vec<u64> {
        let filler = filler(bits);
        let mut counts = vec![0; filler + 1];
        for (gap, &times) in self.lengths.iter().enumerate() {
            counts[gap % filler] += times;
            counts[filler] += times * (gap / filler) as u64;
        }
        counts
    }
}

/// Gives the indices of one gap, fillers first.
pub fn each_index(gap: usize, bits: u32, mut each: impl FnMut(u8)) {
    let filler = filler(bits);
    for _ in 0..gap / filler {
        each(filler as u8);
    }
    each((gap % filler) as u8);
}

/// Appends the places of the nonzeros of a block of `elements`, from the block's start. `None` when a gap leads past the
/// block's end, or fillers stand behind the last nonzero.
pub fn places(indices: &[u8], bits: u32, elements: usize, out: &mut Vec<u32>) -> Option<()> {
    let filler = filler(bits) as u32;
    let mut at = 0_u32;
    for &index in indices {
        at += u32::from(index);
        if u32::from(index) != filler {
            out.push(at);
            at += 1;
        }
    }
    let whole = indices.last().is_none_or(|&last| u32::from(last) != filler);
    // One look at the end is enough: places only grow, and a block has at most as many indices as elements.
    (whole && at as usize <= elements).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: element by element, a filler for every full 2^r − 1 zeros before a nonzero, anew in each block.
    fn specification(values: &[f32], bits: u32) -> Vec<u8> {
        let (mut out, mut gap) = (Vec::new(), 0);
        for (i, &value) in values.iter().enumerate() {
            if i % BLOCK == 0 {
                gap = 0;
            }
            if value == 0.0 {
                gap += 1;
                continue;
            }
            while gap >= (1 << bits) - 1 {
                out.push(((1 << bits) - 1) as u8);
                gap -= (1 << bits) - 1;
            }
            out.push(gap as u8);
            gap = 0;
        }
        out
    }

    fn counted(indices: &[u8], bits: u32) -> Vec<u64> {
        let mut counts = vec![0; 1 << bits];
        indices.iter().for_each(|&index| counts[usize::from(index)] += 1);
        counts
    }

    fn check(values: &[f32], cuts: &[usize]) {
        let mut sum = GapCounts::default();
        let mut start = 0;
        for &end in cuts.iter().chain([&values.len()]) {
            let mut run = GapCounts::at(start);
            let (a, b) = values[start..end].split_at((end - start) / 3);
            run.add(a);
            run.add(b);
            sum = sum.merge(run);
            start = end;
        }
        for bits in WIDTHS {
            let wanted = specification(values, bits);
            assert_eq!(sum.indices(bits), counted(&wanted, bits), "{bits} bits, cut at {cuts:?}");
            let (mut written, mut at) = (Vec::new(), 0);
            for block in values.chunks(BLOCK) {
                let (mut gap, first) = (0, written.len());
                for &value in block {
                    if value == 0.0 {
                        gap += 1;
                    } else {
                        each_index(gap, bits, |index| written.push(index));
                        gap = 0;
                    }
                }
                let mut found = Vec::new();
                places(&written[first..], bits, block.len(), &mut found).unwrap();
                let real: Vec<u32> = (0..block.len() as u32).filter(|&i| block[i as usize] != 0.0).collect();
                assert_eq!(found, real);
                at += block.len();
            }
            assert_eq!((written, at), (wanted, values.len()));
        }
    }

    #[test]
    fn blocks_stand_alone() {
        let mut values = vec![0.0_f32; 3 * BLOCK + 100];
        for place in [3, 700, BLOCK - 1, BLOCK, 2 * BLOCK + 65_000, 3 * BLOCK + 99] {
            values[place] = 1.0;
        }
        check(&values, &[]);
        check(&values, &[2, 701, BLOCK - 1, BLOCK + 10, 2 * BLOCK + 500, 3 * BLOCK + 20]);
        check(&values, &[BLOCK, 2 * BLOCK]);
        values[BLOCK / 2..BLOCK + 999].fill(-2.0);
        check(&values, &[BLOCK / 2 + 7, BLOCK + 1]);
        check(&[], &[]);
        check(&[0.0; 70], &[64]);
    }

    #[test]
    fn what_leads_astray_is_refused() {
        let read = |indices: &[u8]| places(indices, 2, 6, &mut Vec::new());
        assert_eq!(read(&[3, 2]), Some(()));
        assert_eq!(read(&[3, 2, 0]), None);
        assert_eq!(read(&[3, 3, 0]), None);
        assert_eq!(read(&[0, 3]), None);
        assert_eq!(read(&[]), Some(()));
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_definition(
            runs in prop::collection::vec((0_usize..900, 0_usize..80), 0..12),
            cuts in prop::collection::vec(0_usize..9000, 0..6),
        ) {
            let zero_then_ones = |&(zeros, ones): &(usize, usize)| {
                std::iter::repeat_n(0.0_f32, zeros).chain(std::iter::repeat_n(1.0, ones))
            };
            let values: Vec<f32> = runs.iter().flat_map(zero_then_ones).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < values.len()).collect();
            cuts.sort_unstable();
            check(&values, &cuts);
        }
    }
}
