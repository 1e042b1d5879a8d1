//! A profile as bytes and back: little-endian, lengths before contents, nothing believed that does not fit.
//!
//! The bytes are read only from the program's own cache, but a disk can damage a file and anyone may put one there: every
//! length is held against what is left, so damage costs an empty answer, never memory or a panic.

use super::check::{Checks, WIDTHS};
use super::rank::{Look, QUANTILES};
use super::sample::{RANKED, Segment};
use super::tables::{CELL, Cell, LENGTHS, Tables};
use super::tiles::{TALL, Tiles, WIDE};
use super::{Grain, Grids, Profile, Sample, ValueTable};
use crate::kernels::entropy::Gaps;
use crate::kernels::sketch::{BINS, Sketch};
use crate::kernels::stats::Moments;

/// Appends a profile.
pub fn write(profile: &Profile, out: &mut Vec<u8>) {
    let m = &profile.moments;
    out.push(u8::from(profile.coarse));
    [m.finite, m.zeros, m.nan, m.inf].iter().for_each(|&x| put_u64(out, x));
    [m.min, m.max, m.mean, m.m2, m.energy].iter().for_each(|&x| put_u64(out, x.to_bits()));
    profile.gaps.to_parts().iter().for_each(|&x| put_u64(out, x));
    let table = &profile.table;
    out.push(u8::from(table.points));
    put_u64(out, table.zeros);
    put_u64(out, table.bins.len() as u64);
    table.bins.iter().for_each(|bin| out.extend_from_slice(&bin.to_le_bytes()));
    table.positive.iter().chain(&table.negative).for_each(|&count| put_u64(out, count));
    put_u64(out, profile.rows.len() as u64);
    put_f32s(out, profile.rows.as_flattened());
    for energies in &profile.energies {
        put_u64(out, energies.len() as u64);
        put_f32s(out, energies);
    }
    for sketch in &profile.sketches {
        out.push(u8::from(sketch.is_some()));
        if let Some(sketch) = sketch {
            put_f32s(out, &sketch.weights);
            put_f32s(out, &sketch.below);
            put_u64(out, sketch.low_energy.to_bits());
            put_u64(out, sketch.end_weight.to_bits());
            put_u64(out, sketch.ends);
            put_u64(out, sketch.zeros);
        }
    }
    put_f32s(out, profile.peaks.as_flattened());
    profile.direct.as_flattened().iter().for_each(|&sum| put_u64(out, sum.to_bits()));
    profile.casts.iter().for_each(|&sum| put_u64(out, sum.to_bits()));
    profile.checks.trusted.as_flattened().iter().for_each(|&trusted| out.push(u8::from(trusted)));
    put_f32s(out, profile.checks.dense.as_flattened());
    put_f32s(out, profile.checks.dense_error.as_flattened());
    out.push(u8::from(profile.sample.is_some()));
    if let Some(sample) = &profile.sample {
        write_sample(sample, out);
    }
    out.push(u8::from(profile.tables.is_some()));
    if let Some(tables) = &profile.tables {
        tables.plain.iter().chain(&tables.pruned).for_each(|cell| put_f32s(out, &cell.to_parts()));
        put_f32s(out, &tables.shares);
        put_f32s(out, &tables.energies);
        out.extend_from_slice(&tables.whole);
    }
}

fn write_sample(sample: &Sample, out: &mut Vec<u8>) {
    put_u64(out, sample.segments.len() as u64);
    for segment in &sample.segments {
        put_u64(out, segment.at.len() as u64);
        put_u64(out, segment.weight.to_bits());
        put_f32s(out, &[segment.low, segment.high]);
    }
    put_f32s(out, &sample.values);
    put_f32s(out, &sample.quantiles);
    put_u64(out, sample.clips.len() as u64);
    out.extend_from_slice(&sample.clips);
    put_u64(out, sample.looks.len() as u64);
    for look in &sample.looks {
        put_u64(out, look.values.len() as u64);
        put_f32s(out, &look.values);
        put_u64(out, look.largest as u64);
        put_u64(out, look.weight.to_bits());
    }
    put_u64(out, sample.order.len() as u64);
    put_f32s(out, &sample.order);
    let Tiles { rows, cols, values } = &sample.tiles;
    [*rows, *cols, values.len()].iter().for_each(|&x| put_u64(out, x as u64));
    put_f32s(out, values);
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_f32s(out: &mut Vec<u8>, values: &[f32]) {
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// Bytes being read; every step may find that there are too few.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of some bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(head)
    }

    /// The next number.
    pub fn u64(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A length, of which each unit takes at least `unit` of the bytes that are left.
    pub fn len(&mut self, unit: usize) -> Option<usize> {
        let n = usize::try_from(self.u64()?).ok()?;
        (n.checked_mul(unit)? <= self.rest.len()).then_some(n)
    }

    fn f64(&mut self) -> Option<f64> {
        self.u64().map(f64::from_bits)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.bytes(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn f32s(&mut self, n: usize) -> Option<Vec<f32>> {
        let (words, _) = self.bytes(n.checked_mul(4)?)?.as_chunks::<4>();
        Some(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }

    fn u64s(&mut self, n: usize) -> Option<Vec<u64>> {
        let (words, _) = self.bytes(n.checked_mul(8)?)?.as_chunks::<8>();
        Some(words.iter().map(|&word| u64::from_le_bytes(word)).collect())
    }

    fn pairs(&mut self) -> Option<Vec<[f32; 2]>> {
        let n = self.len(8)?;
        let (pairs, _) = self.bytes(n * 8)?.as_chunks::<8>();
        let half = |four: &[u8]| four.try_into().map_or(0.0, f32::from_le_bytes);
        Some(pairs.iter().map(|pair| [half(&pair[..4]), half(&pair[4..])]).collect())
    }
}

/// Reads one profile of a tensor of `elements` elements; `None` when the bytes are not one.
pub fn read(reader: &mut Reader<'_>, elements: u64) -> Option<Profile> {
    let coarse = reader.flag()?;
    let moments = Moments {
        finite: reader.u64()?,
        zeros: reader.u64()?,
        nan: reader.u64()?,
        inf: reader.u64()?,
        min: reader.f64()?,
        max: reader.f64()?,
        mean: reader.f64()?,
        m2: reader.f64()?,
        energy: reader.f64()?,
    };
    let counted = moments.finite.checked_add(moments.nan)?.checked_add(moments.inf)?;
    let mut gaps = [0; Gaps::PARTS];
    for part in &mut gaps {
        *part = reader.u64()?;
    }
    let mut table = read_table(reader)?;
    let rows = reader.pairs()?;
    let mut energies = [Vec::new(), Vec::new()];
    for energies in &mut energies {
        let n = reader.len(4)?;
        *energies = reader.f32s(n)?;
    }
    let mut sketches = [const { None }; 4];
    for sketch in &mut sketches {
        *sketch = if reader.flag()? { Some(read_sketch(reader)?) } else { None };
    }
    let peaks = square(&reader.f32s(3 * Grain::ALL.len())?)?;
    let mut direct = [[0.0; 2]; 4];
    for sum in direct.as_flattened_mut() {
        *sum = reader.f64()?;
    }
    let casts = [reader.f64()?, reader.f64()?];
    let checks = read_checks(reader)?;
    let sample = if reader.flag()? { Some(read_sample(reader)?) } else { None };
    sample.iter().for_each(|sample| table.sharpen(&sample.values));
    let tables = if reader.flag()? { Some(read_tables(reader)?) } else { None };
    let fits = counted == elements && moments.zeros <= moments.finite && table.zeros == moments.zeros;
    let gaps = Gaps::from_parts(gaps);
    let grids = Grids::default();
    let whole = Profile {
        coarse,
        moments,
        gaps,
        table,
        rows,
        energies,
        sketches,
        peaks,
        sample,
        direct,
        casts,
        checks,
        grids,
        tables,
    };
    (fits && gaps.nonzero() <= elements).then(|| whole.with_grids())
}

fn read_table(reader: &mut Reader<'_>) -> Option<ValueTable> {
    let points = reader.flag()?;
    let zeros = reader.u64()?;
    let n = reader.len(18)?;
    let (bins, _) = reader.bytes(n * 2)?.as_chunks::<2>();
    let bins = bins.iter().map(|&bin| u16::from_le_bytes(bin)).collect();
    let (positive, negative) = (reader.u64s(n)?, reader.u64s(n)?);
    // Sums must not run over.
    positive.iter().chain(&negative).try_fold(zeros, |sum, &count| sum.checked_add(count))?;
    ValueTable::from_parts(bins, positive, negative, points, zeros)
}

fn read_sketch(reader: &mut Reader<'_>) -> Option<Sketch> {
    Some(Sketch {
        weights: reader.f32s(BINS)?,
        below: reader.f32s(BINS + 1)?,
        low_energy: reader.f64()?,
        end_weight: reader.f64()?,
        ends: reader.u64()?,
        zeros: reader.u64()?,
    })
}

fn read_checks(reader: &mut Reader<'_>) -> Option<Checks> {
    let mut checks = Checks::default();
    for trusted in checks.trusted.as_flattened_mut() {
        *trusted = reader.flag()?;
    }
    checks.dense = square(&reader.f32s(WIDTHS * Grain::ALL.len())?)?;
    checks.dense_error = square(&reader.f32s(WIDTHS * Grain::ALL.len())?)?;
    Some(checks)
}

/// One row of numbers as several.
fn square<const N: usize, const M: usize>(flat: &[f32]) -> Option<[[f32; N]; M]> {
    let (rows, rest) = flat.as_chunks::<N>();
    rest.is_empty().then_some(())?;
    rows.try_into().ok()
}

fn read_sample(reader: &mut Reader<'_>) -> Option<Sample> {
    let n = reader.len(24)?;
    let mut segments = Vec::with_capacity(n);
    let mut at = 0_usize;
    for _ in 0..n {
        let end = at.checked_add(usize::try_from(reader.u64()?).ok()?)?;
        let weight = reader.f64()?;
        let ends = reader.f32s(2)?;
        segments.push(Segment { at: at..end, weight, low: *ends.first()?, high: *ends.get(1)? });
        at = end;
    }
    let values = reader.f32s(at)?;
    let quantiles = reader.f32s(QUANTILES * n.min(RANKED))?;
    let clips = reader.len(1)?;
    let clips = reader.bytes(clips)?.to_vec();
    let mut looks = Vec::new();
    for _ in 0..reader.len(24)? {
        let n = reader.len(4)?;
        looks.push(Look {
            values: reader.f32s(n)?,
            largest: usize::try_from(reader.u64()?).ok()?,
            weight: reader.f64()?,
        });
    }
    let order = reader.len(4)?;
    let order = reader.f32s(order)?;
    let (rows, cols) = (usize::try_from(reader.u64()?).ok()?, usize::try_from(reader.u64()?).ok()?);
    let tiled = reader.len(4)?;
    let tiles = Tiles { rows, cols, values: reader.f32s(tiled)? };
    let fits = rows <= TALL && cols <= WIDE && (tiled == 0 || (rows * cols > 0 && tiled.is_multiple_of(rows * cols)));
    fits.then_some(Sample { segments, values, quantiles, clips, looks, tiles, order })
}

fn read_tables(reader: &mut Reader<'_>) -> Option<Tables> {
    let mut cells = |n: usize| -> Option<Vec<Cell>> {
        let flat = reader.f32s(n * CELL)?;
        Some(flat.as_chunks::<CELL>().0.iter().map(|&parts| Cell::from_parts(parts)).collect())
    };
    let [plain, pruned, shares] = LENGTHS;
    let (plain, pruned) = (cells(plain)?, cells(pruned)?);
    let (shares, energies) = (reader.f32s(shares)?, reader.f32s(shares)?);
    let whole = reader.bytes(WIDTHS)?.try_into().ok()?;
    Some(Tables { plain, pruned, shares, energies, whole })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::table::SIGNED;
    use proptest::prelude::*;

    fn profile() -> Profile {
        let mut counts = vec![0; SIGNED];
        (counts[0], counts[0x3f80], counts[0xbf00]) = (5, 70, 25);
        let sketch = Sketch {
            weights: (0..BINS).map(|i| i as f32).collect(),
            below: (0..=BINS).map(|i| i as f32).collect(),
            low_energy: 0.5,
            end_weight: 3.5,
            ends: 4,
            zeros: 5,
        };
        let mut checks = Checks::default();
        checks.trusted[2][3] = true;
        checks.dense[1][6] = 0.25;
        Profile {
            coarse: false,
            moments: Moments { finite: 100, zeros: 5, energy: 7.5, ..Moments::default() },
            gaps: Gaps::of([true, false, true].into_iter()),
            table: ValueTable::new(&counts, true, 5),
            rows: vec![[-1.0, 2.0], [-0.5, 0.0]],
            energies: [vec![5.0, 2.5], vec![0.5, 7.0]],
            sketches: [Some(sketch.clone()), None, None, Some(sketch)],
            peaks: [[1.0, 2.0, 3.0]; 4],
            sample: Some(Sample {
                segments: vec![Segment { at: 0..2, weight: 3.0, low: -1.0, high: 1.0 }],
                values: vec![0.5, -0.25],
                quantiles: vec![0.125; QUANTILES],
                clips: vec![80; 7],
                looks: vec![Look { values: vec![0.5, -0.25], largest: 1, weight: 9.5 }],
                order: vec![-0.25, 0.5],
                tiles: Tiles { rows: 1, cols: 2, values: vec![0.5, -0.25, 1.0, 2.0] },
            }),
            direct: [[1.5, 0.25]; 4],
            casts: [0.5, 0.75],
            checks,
            grids: Grids::default(),
            tables: Some(Tables {
                plain: vec![Cell { zeros: 0.5, ..Cell::default() }; LENGTHS[0]],
                pruned: vec![Cell { after: 0.25, ..Cell::default() }; LENGTHS[1]],
                shares: vec![0.75; LENGTHS[2]],
                energies: vec![0.5; LENGTHS[2]],
                whole: [70; WIDTHS],
            }),
        }
        .with_grids()
    }

    #[test]
    fn a_profile_survives_and_no_shorter_one_is_believed() {
        let mut bytes = Vec::new();
        write(&profile(), &mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(read(&mut reader, 100), Some(profile()));
        assert!(reader.is_done());
        assert_eq!(read(&mut Reader::new(&bytes), 99), None);
        for end in (0..bytes.len()).step_by(37) {
            assert_eq!(read(&mut Reader::new(&bytes[..end]), 100), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn damage_is_never_a_panic(at in 0_usize..60_000, value: u8, many in 1_usize..9) {
            let mut bytes = Vec::new();
            write(&profile(), &mut bytes);
            let at = at % bytes.len();
            let end = (at + many).min(bytes.len());
            bytes[at..end].fill(value);
            drop(read(&mut Reader::new(&bytes), 100));
        }
    }
}
