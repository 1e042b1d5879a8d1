//! Snapshot pictures without a graphics card: kittest's renderer on top of the app's rasteriser.
//!
//! `Harness::builder().renderer(RasterRenderer::new())` is all a snapshot test needs.

use egui::TexturesDelta;
use egui_kittest::TestRenderer;
use image::RgbaImage;
use spokeshave::app::raster::{Canvas, Raster};

/// Draws a kittest harness on the CPU.
#[derive(Default)]
pub struct RasterRenderer {
    raster: Raster,
}

impl RasterRenderer {
    pub fn new() -> Self {
        Self::default()
    }
}

impl TestRenderer for RasterRenderer {
    fn handle_delta(&mut self, delta: &mut TexturesDelta) {
        self.raster.update_textures(delta);
    }

    fn render(&mut self, ctx: &egui::Context, output: &egui::FullOutput) -> Result<RgbaImage, String> {
        let scale = ctx.pixels_per_point();
        let size = ctx.viewport_rect().size() * scale;
        let (width, height) = (size.x.round() as usize, size.y.round() as usize);
        let mut canvas = Canvas::new(width, height);
        canvas.clear(ctx.global_style().visuals.panel_fill.to_opaque());
        let primitives = ctx.tessellate(output.shapes.clone(), scale);
        self.raster.paint(&mut canvas, &primitives, scale);
        RgbaImage::from_raw(width as u32, height as u32, canvas.pixels.into_flattened())
            .ok_or_else(|| format!("{width} x {height} pixels do not fit in a picture"))
    }
}
