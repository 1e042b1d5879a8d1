//! Which indices of a dimension stay when some are taken out, as ascending runs.

use std::ops::Range;

/// The indices of a dimension that stay. Kept index `i` is the `i`-th of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Runs of indices that stay, ascending, none empty, no two touching.
    runs: Vec<Range<usize>>,
    /// Kept indices before each run.
    before: Vec<usize>,
    len: usize,
    of: usize,
}

impl Kept {
    /// All of `of` indices.
    #[must_use]
    pub fn all(of: usize) -> Self {
        Self::without(of, std::iter::empty())
    }

    /// All of `of` indices but those in the `removed` ranges, which may come in any order.
    #[must_use]
    pub fn without(of: usize, removed: impl IntoIterator<Item = Range<usize>>) -> Self {
        let mut removed: Vec<Range<usize>> = removed.into_iter().filter(|r| !r.is_empty()).collect();
        removed.sort_by_key(|r| r.start);
        let mut kept = Self { runs: Vec::new(), before: Vec::new(), len: 0, of };
        let mut at = 0;
        for gap in removed.into_iter().chain(std::iter::once(of..of)) {
            let run = at..gap.start.min(of);
            if !run.is_empty() {
                kept.before.push(kept.len);
                kept.len += run.len();
                kept.runs.push(run);
            }
            at = at.max(gap.end);
        }
        kept
    }

    /// How many stay.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there were.
    #[must_use]
    pub fn of(&self) -> usize {
        self.of
    }

    /// Whether all stay.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.len == self.of
    }

    /// The runs that stay, ascending.
    #[must_use]
    pub fn runs(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// The runs that go, ascending.
    pub fn gaps(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = self.runs.iter().map(|r| r.start).chain([self.of]);
        let ends = [0].into_iter().chain(self.runs.iter().map(|r| r.end));
        ends.zip(starts).map(|(end, start)| end..start).filter(|gap| !gap.is_empty())
    }

    /// Whether all of the indices `range` stay.
    #[must_use]
    pub fn holds(&self, range: Range<usize>) -> bool {
        let after = self.runs.partition_point(|run| run.start <= range.start);
        range.is_empty() || after.checked_sub(1).is_some_and(|at| range.end <= self.runs[at].end)
    }

    /// Which kept indices lie among the indices `range`.
    #[must_use]
    pub fn within(&self, range: Range<usize>) -> Range<usize> {
        let before = |index: usize| {
            let after = self.runs.partition_point(|run| run.start < index);
            let inside = |at: usize| self.before[at] + index.min(self.runs[at].end) - self.runs[at].start;
            after.checked_sub(1).map_or(0, inside)
        };
        before(range.start)..before(range.end)
    }

    /// Where the kept indices `range` lie, as runs in the whole dimension.
    pub fn places(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = self.before.partition_point(|&before| before <= range.start).saturating_sub(1);
        self.runs[first..].iter().zip(&self.before[first..]).map_while(move |(run, &before)| {
            let (from, to) = (range.start.max(before), range.end.min(before + run.len()));
            (from < to).then(|| run.start + from - before..run.start + to - before)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_and_what_goes_are_the_whole() {
        type Case<'a> = (usize, &'a [Range<usize>], &'a [usize]);
        let cases: [Case<'_>; 6] = [
            (5, &[], &[0, 1, 2, 3, 4]),
            (5, &[0..1, 4..5], &[1, 2, 3]),
            (5, &[3..4, 1..2], &[0, 2, 4]),
            (5, &[1..3, 2..4], &[0, 4]),
            (3, &[0..3], &[]),
            (0, &[], &[]),
        ];
        for (of, removed, expected) in cases {
            let kept = Kept::without(of, removed.iter().cloned());
            assert_eq!(kept.runs().iter().cloned().flatten().collect::<Vec<_>>(), expected);
            assert_eq!((kept.len(), kept.of(), kept.is_empty()), (expected.len(), of, expected.is_empty()));
            assert_eq!(kept.is_all(), expected.len() == of);
            let mut all: Vec<usize> = kept.gaps().flatten().chain(expected.iter().copied()).collect();
            all.sort_unstable();
            assert_eq!(all, (0..of).collect::<Vec<_>>());
            for (start, end) in (0..=of).flat_map(|start| (start..=of).map(move |end| (start, end))) {
                let inside: Vec<usize> = (0..expected.len()).filter(|&i| (start..end).contains(&expected[i])).collect();
                assert_eq!(kept.within(start..end).collect::<Vec<_>>(), inside);
                assert_eq!(kept.holds(start..end), inside.len() == end - start);
            }
            for start in 0..=expected.len() {
                for end in start..=expected.len() {
                    assert_eq!(kept.places(start..end).flatten().collect::<Vec<_>>(), &expected[start..end]);
                }
            }
        }
    }
}
