//! The innermost loops: texels in, blended bytes out.
//!
//! A colour travels as one `u32` in the byte order of egui's `Color32`: red lowest, alpha highest.
//! Sums and products work on two bytes of it at once, 16 bits apart, and round to nearest.

use egui::{Color32, ColorImage, Pos2, TextureFilter, TextureOptions};

/// Selects the bytes red and blue, or green and alpha after a shift by 8.
const PAIR: u32 = 0x00ff_00ff;
/// Rounds when a pair of 16-bit values is about to lose its low 8 bits.
const HALF: u32 = 0x0080_0080;
const WHITE: u32 = u32::MAX;

/// An egui texture in memory.
pub(super) struct Texture {
    width: usize,
    height: usize,
    texels: Vec<u32>,
    options: TextureOptions,
}

impl Texture {
    pub(super) fn new(image: &ColorImage, options: TextureOptions) -> Self {
        if image.pixels.is_empty() {
            // Nothing to show, but sampling still needs a texel.
            return Self { width: 1, height: 1, texels: vec![0], options };
        }
        let texels = image.pixels.iter().map(|color| from_color(*color)).collect();
        Self { width: image.width(), height: image.height(), texels, options }
    }

    /// Replaces the texels from `corner` on (column, row); what falls outside is dropped.
    pub(super) fn patch(&mut self, [left, top]: [usize; 2], image: &ColorImage, options: TextureOptions) {
        self.options = options;
        if image.pixels.is_empty() || left >= self.width {
            return;
        }
        let source = image.pixels.chunks_exact(image.width());
        let target = self.texels.chunks_exact_mut(self.width).skip(top);
        for (row, colors) in target.zip(source) {
            for (texel, color) in row[left..].iter_mut().zip(colors) {
                *texel = from_color(*color);
            }
        }
    }

    /// Width and height in texels, at least one each.
    pub(super) fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// A position from 0 to 1 in texels.
    pub(super) fn position(&self, uv: Pos2) -> [f32; 2] {
        [uv.x * self.width as f32, uv.y * self.height as f32]
    }

    pub(super) fn magnification(&self) -> TextureFilter {
        self.options.magnification
    }

    /// The filter to use when one pixel spans this many texels.
    pub(super) fn filter(&self, texels_per_pixel: f32) -> TextureFilter {
        if texels_per_pixel > 1.0 { self.options.minification } else { self.options.magnification }
    }

    pub(super) fn row(&self, y: usize) -> &[u32] {
        &self.texels[y * self.width..][..self.width]
    }

    /// The colour at a position in texels.
    pub(super) fn sample(&self, u: f32, v: f32, filter: TextureFilter) -> u32 {
        self.mix(Tap::new(u, self.width, filter), Tap::new(v, self.height, filter))
    }

    /// The colour where a column tap and a row tap meet.
    pub(super) fn mix(&self, column: Tap, row: Tap) -> u32 {
        let upper = column.along(self.row(row.low));
        if row.share == 0 {
            return upper;
        }
        lerp(upper, column.along(self.row(row.high)), row.share)
    }
}

/// One axis of a texture look-up: two neighbouring texels and where between them to read.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    pub low: usize,
    high: usize,
    /// Part of the upper texel in 1/256, below 256.
    pub share: u32,
}

impl Tap {
    /// Looks up `position`, counted in texels, on an axis of `size` texels, clamped to it.
    pub(super) fn new(position: f32, size: usize, filter: TextureFilter) -> Self {
        let last = size - 1;
        match filter {
            TextureFilter::Nearest => {
                // The cast takes everything below zero, and NaN, to zero.
                let low = (position as usize).min(last);
                Self { low, high: low, share: 0 }
            }
            TextureFilter::Linear => {
                // Texel centres lie at halves.
                let steps = ((position - 0.5) * 256.0 + 0.5) as usize;
                let steps = steps.min(last << 8);
                let low = steps >> 8;
                Self { low, high: (low + 1).min(last), share: (steps & 255) as u32 }
            }
        }
    }

    fn along(self, row: &[u32]) -> u32 {
        if self.share == 0 { row[self.low] } else { lerp(row[self.low], row[self.high], self.share) }
    }
}

fn from_color(color: Color32) -> u32 {
    u32::from_le_bytes(color.to_array())
}

/// Goes from `a` to `b` by `share` / 256.
fn lerp(a: u32, b: u32, share: u32) -> u32 {
    let pair = |a: u32, b: u32| (((a & PAIR) * (256 - share) + (b & PAIR) * share + HALF) >> 8) & PAIR;
    pair(a, b) | pair(a >> 8, b >> 8) << 8
}

/// `pair * factor / 255` for two bytes at once, rounded to nearest.
fn scale_pair(pair: u32, factor: u32) -> u32 {
    let product = pair * factor + HALF;
    ((product + ((product >> 8) & PAIR)) >> 8) & PAIR
}

/// `a * b / 255` for one byte, rounded to nearest.
fn scale(a: u32, b: u32) -> u32 {
    let product = a * b + 128;
    (product + (product >> 8)) >> 8
}

/// Multiplies two colours byte by byte, 255 being one.
pub(super) fn multiply(a: u32, b: u32) -> u32 {
    if a == WHITE {
        return b;
    }
    if b == WHITE {
        return a;
    }
    let part = |shift: u32| scale((a >> shift) & 255, (b >> shift) & 255) << shift;
    part(0) | part(8) | part(16) | part(24)
}

/// Multiplies the first four values, a colour from 0 to 255, by a texel.
pub(super) fn multiply_values(values: &mut [f32; 6], texel: u32) {
    if texel != WHITE {
        for (value, byte) in values.iter_mut().zip(texel.to_le_bytes()) {
            *value *= f32::from(byte) / 255.0;
        }
    }
}

/// Rounds red, green, blue and alpha from 0 to 255 to a colour.
pub(super) fn pack(values: &[f32; 6]) -> u32 {
    let [r, g, b, a, ..] = values.map(|value| (value + 0.5) as u8);
    u32::from_le_bytes([r, g, b, a])
}

/// Lays a premultiplied colour over a pixel.
fn over(pixel: &mut [u8; 4], color: u32) {
    let keep = 255 - (color >> 24);
    if keep == 0 {
        *pixel = color.to_le_bytes();
    } else if color != 0 {
        let below = u32::from_le_bytes(*pixel);
        // A sum above 255 comes from an additive colour; its carry bit becomes 255.
        let pair = |below: u32, color: u32| {
            let sum = scale_pair(below & PAIR, keep) + (color & PAIR);
            let carry = (sum >> 8) & 0x0001_0001;
            (sum | (carry * 255)) & PAIR
        };
        let blended = pair(below, color) | pair(below >> 8, color >> 8) << 8;
        *pixel = blended.to_le_bytes();
    }
}

/// Lays `tint` times `texel` over a pixel.
pub(super) fn over_tinted(pixel: &mut [u8; 4], tint: u32, texel: u32) {
    // Most of a glyph's box is empty.
    if texel != 0 {
        over(pixel, multiply(tint, texel));
    }
}

/// Lays one colour over all pixels of a row.
pub(super) fn fill(row: &mut [[u8; 4]], color: u32) {
    let bytes = color.to_le_bytes();
    if bytes[3] == 255 {
        row.fill(bytes);
    } else if color != 0 {
        // Byte by byte in 16 bits: the form that compilers turn into vector instructions.
        let keep = 255 - u16::from(bytes[3]);
        for pixel in row {
            for (below, part) in pixel.iter_mut().zip(bytes) {
                let product = u16::from(*below) * keep + 128;
                let sum = ((product + (product >> 8)) >> 8) + u16::from(part);
                *below = sum.min(255) as u8;
            }
        }
    }
}

/// Lays a colour gradient over a row; `start` and `end` are the values of the outer pixels.
pub(super) fn fill_shaded(row: &mut [[u8; 4]], start: &[f32; 6], end: &[f32; 6]) {
    let [pixel] = row else {
        let steps = (row.len() - 1).max(1) as f32;
        // 16 fractional bits: over 32,000 pixels the error of the steps stays below 1/2.
        let mut value: [i32; 4] = std::array::from_fn(|i| ((start[i] + 0.5) * 65536.0) as i32);
        let step: [i32; 4] = std::array::from_fn(|i| ((end[i] - start[i]) / steps * 65536.0) as i32);
        for pixel in row {
            over(pixel, u32::from_le_bytes(value.map(|value| (value >> 16) as u8)));
            for (value, step) in value.iter_mut().zip(step) {
                *value += step;
            }
        }
        return;
    };
    over(pixel, pack(start));
}

/// Lays a texture over a row; `start` and `end` are the values of the outer pixels.
pub(super) fn fill_textured(
    row: &mut [[u8; 4]],
    start: &[f32; 6],
    end: &[f32; 6],
    texture: &Texture,
    filter: TextureFilter,
) {
    let steps = (row.len() - 1).max(1) as f32;
    let step: [f32; 6] = std::array::from_fn(|i| (end[i] - start[i]) / steps);
    for (index, pixel) in row.iter_mut().enumerate() {
        let values: [f32; 6] = std::array::from_fn(|i| start[i] + index as f32 * step[i]);
        let [.., u, v] = values;
        over_tinted(pixel, pack(&values), texture.sample(u, v, filter));
    }
}
