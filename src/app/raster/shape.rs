//! Which pixels a triangle covers is a question of whole numbers; floats only fill them in.
//!
//! Corners, rectangles, triangles and their edges, rounded to 1/256 pixel.

use egui::epaint::Vertex;

use super::texel::Texture;

/// Fractional bits of a rounded corner: 8 bits are 1/256 pixel, as on graphics cards.
const SUBPIXEL_BITS: u32 = 8;
/// One pixel in rounded units.
const ONE: i64 = 1 << SUBPIXEL_BITS;
/// Corners farther out than this many pixels are cut off first: it keeps the products below 2^62.
pub(super) const GUARD: f32 = (1 << 20) as f32;

/// Pixel bounds, `right` and `bottom` excluded.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub left: i64,
    pub top: i64,
    pub right: i64,
    pub bottom: i64,
}

/// A triangle corner in pixels, with its texture position in texels and its colour from 0 to 255.
#[derive(Clone, Copy)]
pub(super) struct Corner {
    pub x: f32,
    pub y: f32,
    /// Interpolated values: red, green, blue, alpha, u, v.
    pub values: [f32; 6],
}

impl Corner {
    pub(super) fn new(vertex: &Vertex, scale: f32, texture: &Texture) -> Self {
        let [r, g, b, a] = vertex.color.to_array().map(f32::from);
        let [u, v] = texture.position(vertex.uv);
        Self { x: vertex.pos.x * scale, y: vertex.pos.y * scale, values: [r, g, b, a, u, v] }
    }

    /// The point where the line to `other` reaches `share` of the way.
    fn towards(&self, other: &Self, share: f32) -> Self {
        let mut values = self.values;
        for (value, end) in values.iter_mut().zip(other.values) {
            *value += share * (end - *value);
        }
        let x = self.x + share * (other.x - self.x);
        Self { x, y: self.y + share * (other.y - self.y), values }
    }
}

/// Rounds a pixel coordinate to 1/256 pixel.
pub(super) fn fixed(pixels: f32) -> i64 {
    (pixels.clamp(-GUARD, GUARD) * ONE as f32).round_ties_even() as i64
}

/// The first pixel whose centre is at or after a rounded coordinate.
pub(super) fn first_centre(coordinate: i64) -> i64 {
    (coordinate + ONE / 2 - 1) >> SUBPIXEL_BITS
}

/// An axis-aligned rectangle of one colour, with a texture whose axes run along its sides.
pub(super) struct Block {
    pub min: Corner,
    pub max: Corner,
}

impl Block {
    /// Recognises the corners of a rectangle cut in two triangles along the line from 1 to 2.
    pub(super) fn new(corners: &[Corner; 4]) -> Option<Self> {
        let [a, b, c, d] = corners;
        // u must follow x and v must follow y, in the two ways the corners can be arranged.
        let column = |p: &Corner, q: &Corner| p.x == q.x && p.values[4] == q.values[4];
        let line = |p: &Corner, q: &Corner| p.y == q.y && p.values[5] == q.values[5];
        let upright = column(a, b) && line(b, d) && column(c, d) && line(a, c);
        let lying = line(a, b) && column(b, d) && line(c, d) && column(a, c);
        let same = [b, c, d].iter().all(|p| p.values[..4] == a.values[..4]);
        let inside = a.x.abs().max(a.y.abs()).max(d.x.abs()).max(d.y.abs()) <= GUARD;
        if !(upright || lying) || !same || !inside {
            return None;
        }
        let (mut min, mut max) = (*a, *d);
        if min.x > max.x {
            std::mem::swap(&mut min.x, &mut max.x);
            (min.values[4], max.values[4]) = (max.values[4], min.values[4]);
        }
        if min.y > max.y {
            std::mem::swap(&mut min.y, &mut max.y);
            (min.values[5], max.values[5]) = (max.values[5], min.values[5]);
        }
        Some(Self { min, max })
    }

    /// How u and v run over the pixels; `None` when one texel covers the whole rectangle.
    pub(super) fn texture_lines(&self) -> Option<[Line; 2]> {
        let ([.., u0, v0], [.., u1, v1]) = (self.min.values, self.max.values);
        if u0 == u1 && v0 == v1 {
            return None;
        }
        Some([Line::new(self.min.x, self.max.x, u0, u1), Line::new(self.min.y, self.max.y, v0, v1)])
    }
}

/// A texture coordinate as a straight line over pixel centres.
pub(super) struct Line {
    start: f32,
    pub step: f32,
}

impl Line {
    pub(super) fn new(from: f32, to: f32, first: f32, last: f32) -> Self {
        let (from, to) = (fixed(from) as f32 / ONE as f32, fixed(to) as f32 / ONE as f32);
        // A rectangle that covers a centre is at least 1/256 pixel wide, so no division by zero.
        let step = (last - first) / (to - from);
        Self { start: first + (0.5 - from) * step, step }
    }

    pub(super) fn at(&self, pixel: i64) -> f32 {
        self.start + pixel as f32 * self.step
    }
}

/// A triangle that covers at least part of the clip, its corners rounded and in clockwise order.
pub(super) struct Shape {
    pub corners: [Corner; 3],
    points: [(i64, i64); 3],
    /// Twice the area in square rounded units, above zero.
    area: f32,
    pub bounds: Bounds,
}

impl Shape {
    pub(super) fn new(mut corners: [Corner; 3], clip: Bounds) -> Option<Self> {
        let mut points = corners.map(|c| (fixed(c.x), fixed(c.y)));
        let [a, b, c] = points;
        let bounds = Bounds {
            left: first_centre(a.0.min(b.0).min(c.0)).max(clip.left),
            top: first_centre(a.1.min(b.1).min(c.1)).max(clip.top),
            right: first_centre(a.0.max(b.0).max(c.0)).min(clip.right),
            bottom: first_centre(a.1.max(b.1).max(c.1)).min(clip.bottom),
        };
        if bounds.left >= bounds.right || bounds.top >= bounds.bottom {
            return None;
        }
        let mut area = edge_value(a, b, c);
        if area < 0 {
            // Egui winds its triangles both ways.
            corners.swap(1, 2);
            points.swap(1, 2);
            area = -area;
        }
        (area > 0).then_some(Self { corners, points, area: area as f32, bounds })
    }

    pub(super) fn sides(&self) -> [Side; 3] {
        let [a, b, c] = self.points;
        let rows = self.bounds.bottom - self.bounds.top;
        [(a, b), (b, c), (c, a)].map(|(from, to)| Side::new(from, to, self.bounds.top, rows))
    }

    /// The interpolated values at the centre of a pixel inside the triangle.
    pub(super) fn values_at(&self, corners: &[Corner; 3], x: i64, y: i64) -> [f32; 6] {
        let centre = (x * ONE + ONE / 2, y * ONE + ONE / 2);
        let [a, b, c] = self.points;
        // Exact up to the division, so that even a sliver gets weights between 0 and 1.
        let weight_b = edge_value(c, a, centre) as f32 / self.area;
        let weight_c = edge_value(a, b, centre) as f32 / self.area;
        let [first, second, third] = corners;
        std::array::from_fn(|i| {
            first.values[i]
                + weight_b * (second.values[i] - first.values[i])
                + weight_c * (third.values[i] - first.values[i])
        })
    }

    /// How many texels lie under one pixel, as the square root of the ratio of the areas.
    pub(super) fn texels_per_pixel(&self) -> f32 {
        let [a, b, c] = self.corners.map(|corner| (corner.values[4], corner.values[5]));
        let texels = (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0);
        (texels.abs() * (ONE * ONE) as f32 / self.area).sqrt()
    }
}

/// Positive when `point` lies clockwise (to the right) of the way `from` -> `to`, zero on it.
fn edge_value(from: (i64, i64), to: (i64, i64), point: (i64, i64)) -> i64 {
    (to.0 - from.0) * (point.1 - from.1) - (to.1 - from.1) * (point.0 - from.0)
}

/// Follows one edge down the rows: the first pixel at or right of it, without rounding error.
///
/// It is `floor(numerator / divisor)`, where only the numerator changes from row to row; quotient
/// and remainder are carried along, so that there is no division inside the loop. A left edge
/// starts a row there and a right edge ends it before, which is the top-left rule.
pub(super) struct Side {
    kind: SideKind,
    pixel: i64,
    remainder: i64,
    pixel_step: i64,
    remainder_step: i64,
    divisor: i64,
}

#[derive(Clone, Copy, PartialEq)]
enum SideKind {
    Left,
    Right,
    /// A horizontal edge: the row bounds of the triangle say all about it.
    Flat,
}

impl Side {
    pub(super) fn new(from: (i64, i64), to: (i64, i64), top: i64, rows: i64) -> Self {
        // Always walked downwards, so that the two triangles at this edge compute the same.
        let kind = match to.1.cmp(&from.1) {
            std::cmp::Ordering::Less => SideKind::Left,
            std::cmp::Ordering::Equal => SideKind::Flat,
            std::cmp::Ordering::Greater => SideKind::Right,
        };
        let (upper, lower) = if from.1 < to.1 { (from, to) } else { (to, from) };
        let (dx, dy) = (lower.0 - upper.0, (lower.1 - upper.1).max(1));
        let divisor = ONE * dy;
        let fall = top * ONE + ONE / 2 - upper.1;
        let numerator = dy * (upper.0 - ONE / 2) + dx * fall + divisor - 1;
        let step = if rows > 1 { ONE * dx } else { 0 };
        let (pixel_step, remainder_step) = match step {
            0 => (0, 0),
            _ => (step.div_euclid(divisor), step.rem_euclid(divisor)),
        };
        Self {
            kind,
            pixel: numerator.div_euclid(divisor),
            remainder: numerator.rem_euclid(divisor),
            pixel_step,
            remainder_step,
            divisor,
        }
    }

    /// Cuts a row to this edge and goes on to the next row.
    pub(super) fn narrow(&mut self, left: &mut i64, right: &mut i64) {
        match self.kind {
            SideKind::Left => *left = self.pixel.max(*left),
            SideKind::Right => *right = self.pixel.min(*right),
            SideKind::Flat => return,
        }
        self.pixel += self.pixel_step;
        self.remainder += self.remainder_step;
        if self.remainder >= self.divisor {
            self.remainder -= self.divisor;
            self.pixel += 1;
        }
    }
}

/// Cuts a triangle to the square of ±[`GUARD`] pixels and returns the convex polygon that is left.
pub(super) fn cut_to_guard(triangle: &[Corner; 3]) -> Vec<Corner> {
    let mut polygon = triangle.to_vec();
    let inside: [fn(&Corner) -> f32; 4] = [|c| GUARD - c.x, |c| GUARD + c.x, |c| GUARD - c.y, |c| GUARD + c.y];
    for distance in inside {
        let mut kept = Vec::with_capacity(polygon.len() + 1);
        for (index, here) in polygon.iter().enumerate() {
            let next = &polygon[(index + 1) % polygon.len()];
            let (a, b) = (distance(here), distance(next));
            if a >= 0.0 {
                kept.push(*here);
            }
            // Always from the inner end, so that neighbours cut a shared edge at the same point.
            if a >= 0.0 && b < 0.0 {
                kept.push(here.towards(next, a / (a - b)));
            } else if a < 0.0 && b >= 0.0 {
                kept.push(next.towards(here, b / (b - a)));
            }
        }
        polygon = kept;
    }
    polygon
}
