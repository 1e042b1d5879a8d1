//! A weight in the layout of a runtime: its codes, scales and what else belongs to it, each to its own tensor of the file while the
//! chunks stream past.

use super::Error;
use super::output::{Output, by_arithmetic};
use super::stretch::Stretch;
use crate::compress::{Chunk, Piece, Task, prepare, stream_chunks};
use crate::control::Control;
use crate::formats::Dtype;
use crate::formats::assembly::{Assembly, Holds};
use crate::kernels::layout::Geometry;
use crate::kernels::levels::Levels;
use crate::kernels::{Real, affine};
use crate::model::modules::Runtime;
use crate::model::{Model, Scratch, Tensor};
use crate::recipe::{Plan, Quantize};
use std::ops::Range;

/// Bytes copied at a time.
const BLOCK: u64 = 1 << 20;

/// Where the parts of a weight go in the file, in the order of [`Assembly::parts`].
pub type Places = Vec<(Holds, Range<u64>)>;

/// Writes the parts of a weight to their places.
pub fn write(task: &Task<'_>, assembly: Assembly, places: Places, output: &mut Output<'_>) -> Result<(), Error> {
    by_arithmetic!(task.tensor.dtype, write_coded(task, assembly, places, output))
}

/// Copies the parts of a weight that lies in the source in the same layout.
pub fn copy(
    model: &Model,
    tensor: &Tensor,
    places: &Places,
    output: &mut Output<'_>,
    control: &Control,
) -> Result<(), Error> {
    let mut scratch = Scratch::default();
    for (from, (_, to)) in tensor.places().iter().zip(places) {
        output.seek(to.start)?;
        let mut at = 0;
        while at < from.bytes() {
            if control.is_cancelled() {
                return Err(crate::compress::Error::Cancelled.into());
            }
            let end = (at + BLOCK).min(from.bytes());
            output.write(model.part(from, at..end, &mut scratch)?)?;
            control.advance(end - at);
            at = end;
        }
    }
    Ok(())
}

/// What vLLM makes of NVFP4 layers that it joins: it has one scale over all of them, and takes the largest. Each tensor has its
/// own here, as the format is defined; where they differ that is told.
pub fn joined_scales(written: &Model) -> Result<Option<String>, Error> {
    let (mut joined, mut worst, mut scratch) = (0, 1.0_f32, Scratch::default());
    for members in written.joined(Runtime::Vllm) {
        let places = members.iter().flat_map(|&member| written.tensors[member].places());
        let mut ends = (f32::INFINITY, 0.0_f32);
        for place in places.filter(|place| place.holds == Holds::Global) {
            let global = written.part(place, 0..4, &mut scratch)?.first_chunk().map_or(1.0, |b| f32::from_le_bytes(*b));
            ends = (ends.0.min(global), ends.1.max(global));
        }
        if ends.0 < ends.1 {
            joined += 1;
            worst = worst.max(ends.1 / ends.0);
        }
    }
    Ok((joined > 0).then(|| {
        let percent = 100.0 * (1.0 - 1.0 / worst);
        format!("the nvfp4 scales of tensors that vLLM joins differ in {joined} places: it takes the largest of each, and reads the others up to {percent:.0} % too small (transformers reads them as they are); mxfp4 has no such scale")
    }))
}

/// What transformers needs to be told of 4-bit floats, which it reads as BF16 whatever the rest of the network is.
pub fn read_as_bf16(model: &Model, plan: &Plan) -> Option<String> {
    let single = |i| plan.outcome(model, i).assembly(plan.target).is_some_and(Assembly::is_single);
    let dtype = model.config().and_then(|config| config.text(&["dtype"]).or_else(|| config.text(&["torch_dtype"])));
    let told = dtype.is_none_or(|dtype| dtype != "bfloat16") && (0..model.tensors.len()).any(single);
    told.then(|| {
        "transformers reads mxfp4 and nvfp4 as BF16, and config.json has the rest computed in another dtype: load it with dtype=torch.bfloat16".into()
    })
}

fn write_coded<T: Real>(
    task: &Task<'_>,
    assembly: Assembly,
    places: Places,
    output: &mut Output<'_>,
) -> Result<(), Error> {
    let prepared = prepare::<T>(task)?;
    let asymmetric = matches!(task.scheme.quantize, Some(Quantize::Int { asymmetric: true, .. }));
    let mut writer = Writer::new(assembly, task.tensor.dtype, task.geometry(), asymmetric, places);
    let full = |done: Option<()>, output: &Output<'_>| {
        let what = "its codes are not as many as were planned; did the source change?".to_owned();
        let mismatch = || Error::Mismatch { path: output.path().to_path_buf(), tensor: task.tensor.name.clone(), what };
        done.ok_or_else(mismatch)
    };
    stream_chunks(task, &prepared, |chunk: &Chunk<T>| {
        writer.add(chunk);
        full(writer.pour(output, false)?, output)
    })?;
    full(writer.pour(output, true)?, output)
}

/// The parts of one weight as they grow.
struct Writer {
    assembly: Assembly,
    dtype: Dtype,
    cols: usize,
    /// What makes a code one without a sign.
    shift: i32,
    /// Columns of the current row that are written.
    col: usize,
    parts: Vec<(Holds, Stretch)>,
}

impl Writer {
    fn new(assembly: Assembly, dtype: Dtype, geometry: Geometry, asymmetric: bool, places: Places) -> Self {
        let shift = match assembly {
            Assembly::Packed { bits, .. } => affine::shift(bits, false),
            Assembly::Affine { bits, .. } => affine::shift(bits, asymmetric),
            _ => 0,
        };
        let stretch = |(holds, range): (Holds, Range<u64>)| {
            let mut stretch = Stretch::new(range);
            if holds == Holds::Shape {
                let sides = [geometry.rows, geometry.cols];
                stretch.bytes.extend(sides.into_iter().flat_map(|side| (side as i64).to_le_bytes()));
            }
            (holds, stretch)
        };
        let parts = places.into_iter().map(stretch).collect();
        Self { assembly, dtype, cols: geometry.cols, shift, col: 0, parts }
    }

    fn part(&mut self, holds: Holds) -> Option<&mut Stretch> {
        self.parts.iter_mut().find_map(|(held, stretch)| (*held == holds).then_some(stretch))
    }

    fn add<T: Real>(&mut self, chunk: &Chunk<T>) {
        chunk.pieces.iter().filter(|piece| piece.begins).for_each(|piece| self.add_side(piece));
        let (bits, shift, cols) = (self.assembly.bits(), self.shift, self.cols);
        let in_words = matches!(self.assembly, Assembly::Packed { .. } | Assembly::Affine { .. });
        let mut col = self.col;
        let Some(stretch) = self.part(Holds::Codes) else { return };
        for &code in &chunk.codes {
            stretch.push((code + shift).cast_unsigned(), bits);
            col += 1;
            if col == cols {
                col = 0;
                if in_words {
                    stretch.bits.align(&mut stretch.bytes);
                }
            }
        }
        self.col = col;
    }

    /// What stands beside the codes of a unit.
    fn add_side<T: Real>(&mut self, piece: &Piece<T>) {
        let (dtype, shift) = (self.dtype, self.shift);
        let mut side = |holds, value: f64| {
            if let Some(stretch) = self.part(holds) {
                dtype.encode(value, &mut stretch.bytes);
            }
        };
        match &piece.levels {
            Levels::Grid(grid) => {
                let scale = grid.scale.to_f64();
                side(Holds::Scales, scale);
                let bias = affine::bias(scale as f32, grid.zero_point + shift, dtype.small());
                side(Holds::Biases, f64::from(bias));
            }
            Levels::Mx(exponent) => self.push_scale(*exponent),
            Levels::Nv { scale, global } => {
                self.push_scale(*scale);
                if let Some(stretch) = self.part(Holds::Global).filter(|stretch| stretch.is_new()) {
                    stretch.bytes.extend_from_slice(&global.to_le_bytes());
                }
            }
            levels => side(Holds::Scales, levels.scale().unwrap_or_default().to_f64()),
        }
    }

    fn push_scale(&mut self, pattern: u8) {
        if let Some(stretch) = self.part(Holds::Scales) {
            stretch.bytes.push(pattern);
        }
    }

    /// Writes what waits to its places, `at_last` all of it. `None` when it is more or less than was planned.
    fn pour(&mut self, output: &mut Output<'_>, at_last: bool) -> Result<Option<()>, Error> {
        for (_, stretch) in &mut self.parts {
            if at_last {
                std::mem::take(&mut stretch.bits).finish(&mut stretch.bytes);
            }
            if stretch.pour(output, at_last)?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }
}
