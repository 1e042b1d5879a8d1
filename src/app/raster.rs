//! Egui speaks in textured triangles, and a graphics card is only one of the listeners.
//!
//! [`Raster`] is the other one: it turns the output of `egui::Context::tessellate` into pixels on
//! the CPU. Pictures for tests and documents come from here, and so does the window on machines
//! without OpenGL.
//!
//! * Corners are rounded to 1/256 pixel and a pixel belongs to a triangle when its centre does.
//!   A centre exactly on an edge belongs to the triangle right of or below that edge (the top-left
//!   rule). Both tests are done in whole numbers, so two triangles that share an edge never leave
//!   a gap and never blend a pixel twice.
//! * Blending follows egui's OpenGL painter: vertex colour times texel, both premultiplied, both
//!   left in gamma space, then laid over what is there. Its dithering is left out, so that equal
//!   shapes give equal bytes.
//! * Textures are clamped at their borders; the other wrap modes and mipmaps are not drawn.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use egui::epaint::{ImageDelta, Mesh, Primitive};
use egui::{ClippedPrimitive, Color32, ImageData, Rect, TextureId, TexturesDelta};

mod shape;
#[cfg(test)]
mod tests;
mod texel;

use shape::{Block, Bounds, Corner, GUARD, Shape, cut_to_guard, first_centre, fixed};
use texel::{Tap, Texture};

/// Fewer pixels than this are drawn on the calling thread: threads would cost more than they save.
const PIXELS_PER_THREAD: usize = 200_000;

/// A picture in memory: premultiplied red, green, blue, alpha, one byte each, top row first.
pub struct Canvas {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `width * height` pixels, row by row.
    pub pixels: Vec<[u8; 4]>,
}

impl Canvas {
    /// A transparent picture of `width` x `height` pixels.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![[0; 4]; width * height] }
    }

    /// Changes the size in pixels; the content is unspecified until [`Self::clear`].
    pub fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.pixels.resize(width * height, [0; 4]);
    }

    /// Sets every pixel to one colour.
    pub fn clear(&mut self, color: Color32) {
        self.pixels.fill(color.to_array());
    }

    /// The colour `x` pixels from the left and `y` from the top; panics outside the picture.
    pub fn pixel(&self, x: usize, y: usize) -> Color32 {
        assert!(x < self.width, "x = {x} is outside a width of {}", self.width);
        let [r, g, b, a] = self.pixels[y * self.width + x];
        Color32::from_rgba_premultiplied(r, g, b, a)
    }
}

/// Draws egui's triangles and keeps the textures they refer to.
#[derive(Default)]
pub struct Raster {
    textures: HashMap<TextureId, Texture>,
    /// Freed by the latest delta, but the shapes that came with it may still show them.
    doomed: Vec<TextureId>,
}

impl Raster {
    /// A rasteriser without textures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over texture changes; leaves `delta` empty, as its drop check demands.
    ///
    /// Call it once for every egui output, before [`Self::paint`]. Textures that the delta frees
    /// stay until the next call, because the same output may still draw them.
    pub fn update_textures(&mut self, delta: &mut TexturesDelta) {
        for id in self.doomed.drain(..) {
            self.textures.remove(&id);
        }
        #[expect(clippy::iter_over_hash_type, reason = "textures do not depend on each other")]
        for (id, changes) in delta.set.drain() {
            for change in changes {
                self.set_texture(id, &change);
            }
        }
        self.doomed.extend(delta.free.drain());
    }

    fn set_texture(&mut self, id: TextureId, change: &ImageDelta) {
        let ImageData::Color(image) = &change.image;
        match change.pos {
            None => {
                self.textures.insert(id, Texture::new(image, change.options));
            }
            Some(corner) => {
                if let Some(texture) = self.textures.get_mut(&id) {
                    texture.patch(corner, image, change.options);
                }
            }
        }
    }

    /// Draws `clipped_primitives` over `target`, whose top-left pixel is egui's origin.
    ///
    /// `pixels_per_point` is the scale the shapes were tessellated for. Paint callbacks are
    /// skipped: they talk to a graphics card. Large pictures are cut into horizontal bands, one
    /// for each CPU; the result does not depend on their number.
    pub fn paint(&mut self, target: &mut Canvas, clipped_primitives: &[ClippedPrimitive], pixels_per_point: f32) {
        let (width, height) = (target.width, target.height);
        if width == 0 || height == 0 {
            return;
        }
        let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let bands = (width * height / PIXELS_PER_THREAD).clamp(1, cpus);
        let rows = height.div_ceil(bands);
        let textures = &self.textures;
        let draw = |(index, pixels): (usize, &mut [[u8; 4]])| {
            let mut band = Band::new(pixels, width, index * rows);
            band.paint(textures, clipped_primitives, pixels_per_point);
        };
        let mut parts = target.pixels.chunks_mut(rows * width).enumerate();
        let first = parts.next();
        std::thread::scope(|scope| {
            for part in parts {
                scope.spawn(move || draw(part));
            }
            if let Some(part) = first {
                draw(part);
            }
        });
    }
}

/// A run of full rows of the picture, drawn by one thread.
struct Band<'a> {
    pixels: &'a mut [[u8; 4]],
    width: usize,
    /// Index of the first row in the whole picture.
    top: usize,
    /// What may be drawn to: the current clip rectangle cut to this band.
    clip: Bounds,
    /// Kept between rectangles to save allocations.
    columns: Vec<Tap>,
}

impl<'a> Band<'a> {
    fn new(pixels: &'a mut [[u8; 4]], width: usize, top: usize) -> Self {
        let clip = Bounds { left: 0, top: 0, right: 0, bottom: 0 };
        Self { pixels, width, top, clip, columns: Vec::new() }
    }

    fn paint(&mut self, textures: &HashMap<TextureId, Texture>, primitives: &[ClippedPrimitive], scale: f32) {
        for ClippedPrimitive { clip_rect, primitive } in primitives {
            self.set_clip(*clip_rect, scale);
            let Primitive::Mesh(mesh) = primitive else { continue };
            if self.clip.left < self.clip.right
                && self.clip.top < self.clip.bottom
                && let Some(texture) = textures.get(&mesh.texture_id)
            {
                self.mesh(mesh, texture, scale);
            }
        }
    }

    fn set_clip(&mut self, rect: Rect, scale: f32) {
        // Rounded like the scissor rectangle of the OpenGL painter. The cast saturates, so an
        // endless clip rectangle is fine.
        let edge = |points: f32| (points * scale).round() as i64;
        let rows = self.pixels.len() / self.width;
        self.clip = Bounds {
            left: edge(rect.min.x).max(0),
            top: edge(rect.min.y).max(self.top as i64),
            right: edge(rect.max.x).min(self.width as i64),
            bottom: edge(rect.max.y).min((self.top + rows) as i64),
        };
    }

    fn mesh(&mut self, mesh: &Mesh, texture: &Texture, scale: f32) {
        let corner = |index: u32| mesh.vertices.get(index as usize).map(|vertex| Corner::new(vertex, scale, texture));
        let mut rest = mesh.indices.as_slice();
        while let &[a, b, c, ref tail @ ..] = rest {
            rest = tail;
            let (Some(ca), Some(cb), Some(cc)) = (corner(a), corner(b), corner(c)) else { continue };
            // Two triangles that mirror each other over b-c: a rectangle, as most shapes are.
            if let &[c2, b2, d, ref tail @ ..] = rest
                && (c2, b2) == (c, b)
                && let Some(cd) = corner(d)
                && let Some(block) = Block::new(&[ca, cb, cc, cd])
            {
                rest = tail;
                self.block(&block, texture);
                continue;
            }
            self.triangle([ca, cb, cc], texture);
        }
    }

    /// The pixels from `left` to before `right` of a picture row; both lie within the clip.
    fn row(&mut self, y: i64, left: i64, right: i64) -> &mut [[u8; 4]] {
        let start = (y as usize - self.top) * self.width;
        &mut self.pixels[start + left as usize..start + right as usize]
    }

    /// Draws an axis-aligned rectangle of one colour.
    fn block(&mut self, block: &Block, texture: &Texture) {
        let clip = self.clip;
        let left = first_centre(fixed(block.min.x)).max(clip.left);
        let right = first_centre(fixed(block.max.x)).min(clip.right);
        let top = first_centre(fixed(block.min.y)).max(clip.top);
        let bottom = first_centre(fixed(block.max.y)).min(clip.bottom);
        if left >= right || top >= bottom {
            return;
        }
        let tint = texel::pack(&block.min.values);
        let Some([u, v]) = block.texture_lines() else {
            let [.., u, v] = block.min.values;
            let color = texel::multiply(tint, texture.sample(u, v, texture.magnification()));
            for y in top..bottom {
                texel::fill(self.row(y, left, right), color);
            }
            return;
        };
        let filter = texture.filter(u.step.abs().max(v.step.abs()));
        let [texture_width, texture_height] = texture.size();
        let mut columns = std::mem::take(&mut self.columns);
        columns.clear();
        columns.extend((left..right).map(|x| Tap::new(u.at(x), texture_width, filter)));
        let sharp = columns.iter().all(|tap| tap.share == 0);
        for y in top..bottom {
            let line = Tap::new(v.at(y), texture_height, filter);
            let row = self.row(y, left, right);
            if sharp && line.share == 0 {
                let texels = texture.row(line.low);
                for (pixel, tap) in row.iter_mut().zip(&columns) {
                    texel::over_tinted(pixel, tint, texels[tap.low]);
                }
            } else {
                for (pixel, tap) in row.iter_mut().zip(&columns) {
                    texel::over_tinted(pixel, tint, texture.mix(*tap, line));
                }
            }
        }
        self.columns = columns;
    }

    fn triangle(&mut self, corners: [Corner; 3], texture: &Texture) {
        if !corners.iter().all(|c| c.x.is_finite() && c.y.is_finite()) {
            return;
        }
        if corners.iter().all(|c| c.x.abs().max(c.y.abs()) <= GUARD) {
            self.near_triangle(corners, texture);
            return;
        }
        let polygon = cut_to_guard(&corners);
        for pair in polygon.windows(2).skip(1) {
            self.near_triangle([polygon[0], pair[0], pair[1]], texture);
        }
    }

    /// Draws a triangle whose corners are within [`GUARD`].
    fn near_triangle(&mut self, corners: [Corner; 3], texture: &Texture) {
        let Some(shape) = Shape::new(corners, self.clip) else { return };
        let mut corners = shape.corners;
        let [.., u, v] = corners[0].values;
        let flat = corners.iter().all(|c| c.values[4..] == [u, v]);
        if flat {
            let texel = texture.sample(u, v, texture.magnification());
            corners.iter_mut().for_each(|c| texel::multiply_values(&mut c.values, texel));
        }
        let plain = flat && corners.iter().all(|c| c.values[..4] == corners[0].values[..4]);
        let color = texel::pack(&corners[0].values);
        if plain && color == 0 {
            return;
        }
        let filter = texture.filter(if flat { 1.0 } else { shape.texels_per_pixel() });
        let mut sides = shape.sides();
        for y in shape.bounds.top..shape.bounds.bottom {
            let (mut left, mut right) = (shape.bounds.left, shape.bounds.right);
            for side in &mut sides {
                side.narrow(&mut left, &mut right);
            }
            if left >= right {
                continue;
            }
            let row = self.row(y, left, right);
            if plain {
                texel::fill(row, color);
                continue;
            }
            let start = shape.values_at(&corners, left, y);
            let end = if right - left == 1 { start } else { shape.values_at(&corners, right - 1, y) };
            if flat {
                texel::fill_shaded(row, &start, &end);
            } else {
                texel::fill_textured(row, &start, &end, texture, filter);
            }
        }
    }
}
