//! A pixel drawn twice is invisible until the fill is translucent, so most fills here are.

use egui::epaint::{ClippedPrimitive, ColorImage, ImageDelta, Mesh, Primitive, Vertex};
use egui::{Color32, Pos2, Rect, TextureId, TextureOptions, TexturesDelta, pos2, vec2};

use super::{Canvas, Raster};

const FONT: TextureId = TextureId::Managed(0);
const HALF_WHITE: Color32 = Color32::from_rgba_premultiplied(128, 128, 128, 128);

fn set(raster: &mut Raster, id: TextureId, change: ImageDelta) {
    let mut delta = TexturesDelta::default();
    delta.push(id, change);
    raster.update_textures(&mut delta);
    assert!(delta.is_empty());
}

/// A rasteriser whose first texture has only the white texel that untextured shapes point to.
fn white_raster() -> Raster {
    let mut raster = Raster::new();
    let image = ColorImage::filled([1, 1], Color32::WHITE);
    set(&mut raster, FONT, ImageDelta::full(image, TextureOptions::LINEAR));
    raster
}

fn black(width: usize, height: usize) -> Canvas {
    let mut canvas = Canvas::new(width, height);
    canvas.clear(Color32::BLACK);
    canvas
}

fn clipped(mesh: Mesh, clip_rect: Rect) -> ClippedPrimitive {
    ClippedPrimitive { clip_rect, primitive: Primitive::Mesh(mesh) }
}

/// One mesh of triangles of one colour.
fn triangles(triangles: &[[Pos2; 3]], color: Color32) -> ClippedPrimitive {
    let mut mesh = Mesh::default();
    for corner in triangles.iter().flatten() {
        mesh.indices.push(mesh.vertices.len() as u32);
        mesh.vertices.push(Vertex::untextured(*corner, color));
    }
    clipped(mesh, Rect::EVERYTHING)
}

fn textured(rect: Rect, texture: TextureId, uv: Rect) -> ClippedPrimitive {
    let mut mesh = Mesh::with_texture(texture);
    mesh.add_rect_with_uv(rect, uv, Color32::WHITE);
    clipped(mesh, Rect::EVERYTHING)
}

fn unit() -> Rect {
    Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0))
}

fn count(canvas: &Canvas, color: Color32) -> usize {
    canvas.pixels.iter().filter(|pixel| **pixel == color.to_array()).count()
}

/// A repeatable stream of numbers from 0 to 1.
fn numbers() -> impl FnMut() -> f32 {
    let mut state = 1_u32;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    }
}

#[test]
fn a_quad_over_everything_fills_each_pixel_once() {
    let mut canvas = black(33, 17);
    let mut mesh = Mesh::default();
    mesh.add_colored_rect(Rect::from_min_size(Pos2::ZERO, vec2(33.0, 17.0)), HALF_WHITE);
    white_raster().paint(&mut canvas, &[clipped(mesh, Rect::EVERYTHING)], 1.0);
    assert_eq!(count(&canvas, Color32::from_gray(128)), 33 * 17);
}

#[test]
fn triangles_with_a_shared_edge_blend_each_pixel_once() {
    let (a, b, c, d) = (pos2(0.0, 0.0), pos2(64.0, 0.0), pos2(0.0, 64.0), pos2(64.0, 64.0));
    // The diagonal runs exactly through pixel centres; both winding orders.
    for pair in [[[a, b, c], [b, d, c]], [[c, b, a], [b, d, c]], [[a, b, d], [d, c, a]]] {
        let mut canvas = black(64, 64);
        white_raster().paint(&mut canvas, &[triangles(&pair, HALF_WHITE)], 1.0);
        assert_eq!(count(&canvas, Color32::from_gray(128)), 64 * 64);
    }
}

#[test]
fn a_crooked_net_of_triangles_has_no_gaps_and_no_overlaps() {
    let mut random = numbers();
    let points: Vec<Pos2> = (0..100)
        .map(|i| {
            let (x, y) = ((i % 10) as f32, (i / 10) as f32);
            // Less than a quarter of a cell each way, so that no triangle turns over.
            let shift = |at: f32, by: f32| if at == 0.0 || at == 9.0 { 0.0 } else { by * 0.45 };
            pos2((x + shift(x, random() - 0.5)) * 11.0, (y + shift(y, random() - 0.5)) * 7.0)
        })
        .collect();
    let mut net = Vec::new();
    for cell in (0..90).filter(|cell| cell % 10 != 9) {
        let [a, b, c, d] = [cell, cell + 1, cell + 10, cell + 11].map(|i| points[i]);
        net.extend(if cell % 2 == 0 { [[a, b, c], [c, d, b]] } else { [[a, b, d], [a, c, d]] });
    }
    let mut canvas = black(99, 63);
    white_raster().paint(&mut canvas, &[triangles(&net, HALF_WHITE)], 1.0);
    assert_eq!(count(&canvas, Color32::from_gray(128)), 99 * 63);
}

#[test]
fn edges_far_outside_stay_shared() {
    let far = 3.0e7;
    let corners = [pos2(-far, -far), pos2(far, -far), pos2(far, far), pos2(-far, far)];
    let middle = pos2(30.3, 20.7);
    let fan: Vec<[Pos2; 3]> = (0..4).map(|i| [middle, corners[i], corners[(i + 1) % 4]]).collect();
    let mut canvas = black(64, 48);
    white_raster().paint(&mut canvas, &[triangles(&fan, HALF_WHITE)], 1.0);
    assert_eq!(count(&canvas, Color32::from_gray(128)), 64 * 48);
}

#[test]
fn broken_coordinates_draw_nothing() {
    let mut canvas = black(8, 8);
    let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let shapes = bad.map(|x| [pos2(0.0, 0.0), pos2(x, 4.0), pos2(4.0, 8.0)]);
    white_raster().paint(&mut canvas, &[triangles(&shapes, Color32::WHITE)], 1.0);
    assert_eq!(count(&canvas, Color32::BLACK), 64);
}

#[test]
fn the_clip_rectangle_is_rounded_to_pixels() {
    let mut mesh = Mesh::default();
    mesh.add_colored_rect(Rect::from_min_size(pos2(-9.0, -9.0), vec2(99.0, 99.0)), Color32::RED);
    let clip = Rect::from_min_max(pos2(1.6, 1.0), pos2(3.0, 3.4));
    let mut canvas = black(20, 20);
    white_raster().paint(&mut canvas, &[clipped(mesh, clip)], 2.0);
    assert_eq!(count(&canvas, Color32::RED), (6 - 3) * (7 - 2));
    assert_eq!(canvas.pixel(3, 2), Color32::RED);
    assert_eq!(canvas.pixel(5, 6), Color32::RED);
}

#[test]
fn nearest_sampling_keeps_texels_sharp() {
    let mut raster = white_raster();
    let colors = [Color32::RED, Color32::GREEN, Color32::BLUE, Color32::WHITE];
    let image = ColorImage::new([2, 2], colors.to_vec());
    let id = TextureId::Managed(7);
    set(&mut raster, id, ImageDelta::full(image, TextureOptions::NEAREST));
    let mut canvas = black(8, 8);
    let rect = Rect::from_min_size(Pos2::ZERO, vec2(8.0, 8.0));
    raster.paint(&mut canvas, &[textured(rect, id, unit())], 1.0);
    for (index, color) in colors.into_iter().enumerate() {
        assert_eq!(count(&canvas, color), 16);
        assert_eq!(canvas.pixel(index % 2 * 4 + 3, index / 2 * 4), color);
    }
}

#[test]
fn linear_sampling_is_exact_at_centres_and_even_between() {
    let mut raster = white_raster();
    let id = TextureId::Managed(7);
    let image = ColorImage::new([2, 1], vec![Color32::BLACK, Color32::WHITE]);
    set(&mut raster, id, ImageDelta::full(image, TextureOptions::LINEAR));
    let mut canvas = black(8, 1);
    let rect = Rect::from_min_size(Pos2::ZERO, vec2(8.0, 1.0));
    raster.paint(&mut canvas, &[textured(rect, id, unit())], 1.0);
    let row: Vec<u8> = (0..8).map(|x| canvas.pixel(x, 0).r()).collect();
    assert_eq!(row, [0, 0, 32, 96, 159, 223, 255, 255]);
    // Mirrored, and through the general triangle instead of the rectangle.
    let mirrored = Rect::from_min_max(pos2(1.0, 0.0), pos2(0.0, 1.0));
    let mut flipped = textured(rect, id, mirrored);
    raster.paint(&mut canvas, &[flipped.clone()], 1.0);
    assert_eq!(canvas.pixel(2, 0).r(), 223);
    let Primitive::Mesh(mesh) = &mut flipped.primitive else { unreachable!("made as a mesh") };
    mesh.vertices[3].pos.x += 1.0;
    canvas.clear(Color32::BLACK);
    raster.paint(&mut canvas, &[flipped], 1.0);
    assert!(canvas.pixel(2, 0).r().abs_diff(223) <= 12);
}

#[test]
fn a_partial_update_changes_only_its_texels() {
    let mut raster = white_raster();
    let id = TextureId::Managed(7);
    let options = TextureOptions::NEAREST;
    let image = ColorImage::filled([4, 4], Color32::BLUE);
    set(&mut raster, id, ImageDelta::full(image, options));
    let patch = ColorImage::filled([2, 1], Color32::YELLOW);
    set(&mut raster, id, ImageDelta::partial([1, 3], patch, options));
    let mut canvas = black(4, 4);
    let rect = Rect::from_min_size(Pos2::ZERO, vec2(4.0, 4.0));
    raster.paint(&mut canvas, &[textured(rect, id, unit())], 1.0);
    assert_eq!(count(&canvas, Color32::BLUE), 14);
    assert_eq!([canvas.pixel(1, 3), canvas.pixel(2, 3)], [Color32::YELLOW; 2]);
}

#[test]
fn a_freed_texture_lasts_for_the_output_that_freed_it() {
    let mut raster = white_raster();
    let mut delta = TexturesDelta::default();
    delta.free(FONT);
    raster.update_textures(&mut delta);
    let shape = triangles(&[[pos2(0.0, 0.0), pos2(8.0, 0.0), pos2(0.0, 8.0)]], Color32::RED);
    let mut canvas = black(4, 4);
    raster.paint(&mut canvas, std::slice::from_ref(&shape), 1.0);
    assert_eq!(count(&canvas, Color32::RED), 16);
    raster.update_textures(&mut delta);
    canvas.clear(Color32::BLACK);
    raster.paint(&mut canvas, &[shape], 1.0);
    assert_eq!(count(&canvas, Color32::RED), 0);
}

#[test]
fn blending_follows_the_formula_within_one_step() {
    let mut random = numbers();
    let mut byte = move || (random() * 256.0) as u8;
    for _ in 0..2000 {
        let below = Color32::from_rgb(byte(), byte(), byte());
        // Also additive colours, whose parts exceed their alpha.
        let above = Color32::from_rgba_premultiplied(byte(), byte(), byte(), byte());
        let mut mesh = Mesh::default();
        mesh.add_colored_rect(Rect::from_min_size(Pos2::ZERO, vec2(1.0, 1.0)), above);
        let corners = [pos2(1.0, 0.0), pos2(3.0, 0.0), pos2(1.0, 2.0)];
        let shapes = [clipped(mesh, Rect::EVERYTHING), triangles(&[corners], above)];
        let mut canvas = Canvas::new(2, 1);
        canvas.clear(below);
        white_raster().paint(&mut canvas, &shapes, 1.0);
        let keep = 1.0 - f32::from(above.a()) / 255.0;
        for x in 0..2 {
            for (i, part) in canvas.pixel(x, 0).to_array().into_iter().enumerate() {
                let exact = f32::from(above[i]) + f32::from(below[i]) * keep;
                assert!((f32::from(part) - exact.min(255.0)).abs() <= 0.51);
            }
        }
    }
}

#[test]
fn a_gradient_runs_evenly_to_its_corners() {
    let mut mesh = Mesh::default();
    for (x, y, gray) in [(0.0, 0.0, 0), (256.0, 0.0, 255), (0.0, 4.0, 0), (256.0, 4.0, 255)] {
        mesh.vertices.push(Vertex::untextured(pos2(x, y), Color32::from_gray(gray)));
    }
    mesh.indices = vec![0, 1, 2, 2, 1, 3];
    let mut canvas = Canvas::new(256, 4);
    white_raster().paint(&mut canvas, &[clipped(mesh, Rect::EVERYTHING)], 1.0);
    for x in 0..256 {
        for y in 0..4 {
            let exact = (x as f32 + 0.5) / 256.0 * 255.0;
            assert!((f32::from(canvas.pixel(x, y).r()) - exact).abs() <= 0.51, "{x} {y}");
        }
    }
}

#[test]
fn the_number_of_bands_does_not_change_the_picture() {
    let mut random = numbers();
    let shapes: Vec<[Pos2; 3]> =
        (0..200).map(|_| std::array::from_fn(|_| pos2(random() * 900.0, random() * 900.0))).collect();
    let shape = [triangles(&shapes, Color32::from_rgba_premultiplied(9, 5, 3, 20))];
    let mut whole = black(900, 900);
    white_raster().paint(&mut whole, &shape, 1.0);
    // A picture below the size of one band, moved over the large one.
    let mut part = black(900, 100);
    for top in (0..900).step_by(100) {
        part.clear(Color32::BLACK);
        let mut moved = shape.clone();
        let Primitive::Mesh(mesh) = &mut moved[0].primitive else { unreachable!("made as a mesh") };
        mesh.translate(vec2(0.0, -(top as f32)));
        white_raster().paint(&mut part, &moved, 1.0);
        let expected = &whole.pixels[top * 900..][..part.pixels.len()];
        let different = part.pixels.iter().zip(expected).filter(|(a, b)| a != b).count();
        // Moving rounds the corners anew in their 24-bit floats.
        assert!(different < 40, "{different} pixels differ from row {top} on");
    }
}
