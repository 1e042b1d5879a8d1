//! A window is not needed to see a user interface, only a clock and a rectangle.
//!
//! [`Headless`] runs any egui function pass by pass, without a display and with a made-up clock,
//! and hands out what it drew as a picture. The same input gives the same picture every time.

use std::path::Path;
use std::time::Duration;

use egui::epaint::ClippedShape;
use egui::{Event, Pos2, RawInput, Rect, Theme, ViewportId, vec2};
use image::RgbaImage;

use super::raster::{Canvas, Raster};

/// Time between two passes, in seconds.
const STEP: f64 = 1.0 / 60.0;
/// Longest side of a texture the interface may ask for, in texels; memory is the only limit here.
const MAX_TEXTURE_SIDE: usize = 16_384;

/// An egui context that draws into memory.
pub struct Headless {
    ctx: egui::Context,
    raster: Raster,
    canvas: Canvas,
    pixels_per_point: f32,
    theme: Theme,
    /// The clock of the interface, in seconds.
    time: f64,
    /// What the latest pass drew, and the scale it was drawn for.
    shapes: Vec<ClippedShape>,
    shape_scale: f32,
}

impl Headless {
    /// A picture of `width_px` x `height_px` pixels; a point is `pixels_per_point` pixels wide.
    ///
    /// The interface starts with `theme` and is told that the system prefers it; the function that
    /// is drawn may still choose another.
    pub fn new(width_px: usize, height_px: usize, pixels_per_point: f32, theme: Theme) -> Self {
        let ctx = egui::Context::default();
        ctx.set_theme(theme);
        Self {
            ctx,
            raster: Raster::new(),
            canvas: Canvas::new(width_px, height_px),
            pixels_per_point,
            theme,
            time: 0.0,
            shapes: Vec::new(),
            shape_scale: pixels_per_point,
        }
    }

    /// The context, to set fonts and styles or to read input and memory.
    pub fn ctx(&self) -> &egui::Context {
        &self.ctx
    }

    /// Runs one pass with `events` and moves the clock on by 1/60 second.
    ///
    /// Returns whether the interface asks to be drawn again within the next 1/60 second, as it
    /// does while something moves.
    pub fn frame(&mut self, events: Vec<Event>, ui: impl FnMut(&mut egui::Ui)) -> bool {
        let input = self.input(events);
        let mut output = self.ctx.run_ui(input, ui);
        self.time += STEP;
        self.raster.update_textures(&mut output.textures_delta);
        self.shapes = output.shapes;
        self.shape_scale = output.pixels_per_point;
        let delay = output.viewport_output.get(&ViewportId::ROOT).map(|root| root.repaint_delay);
        delay.is_some_and(|delay| delay <= Duration::from_secs_f64(STEP))
    }

    /// Runs passes without events until nothing moves any more, at most `limit` of them.
    ///
    /// Returns whether it came to rest.
    pub fn settle(&mut self, limit: usize, mut ui: impl FnMut(&mut egui::Ui)) -> bool {
        (0..limit).any(|_| !self.frame(Vec::new(), &mut ui))
    }

    fn input(&self, events: Vec<Event>) -> RawInput {
        // A point is larger by the zoom that the user chose with the keyboard.
        let scale = self.pixels_per_point * self.ctx.zoom_factor();
        let size = vec2(self.canvas.width as f32, self.canvas.height as f32) / scale;
        let mut input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, size)),
            max_texture_side: Some(MAX_TEXTURE_SIDE),
            time: Some(self.time),
            predicted_dt: STEP as f32,
            events,
            focused: true,
            system_theme: Some(self.theme),
            ..RawInput::default()
        };
        let window = input.viewports.entry(ViewportId::ROOT).or_default();
        window.native_pixels_per_point = Some(self.pixels_per_point);
        window.focused = Some(true);
        input
    }

    /// The shapes of the latest pass as triangles, as a renderer would be given them.
    #[must_use]
    pub fn tessellated(&self) -> Vec<egui::ClippedPrimitive> {
        self.ctx.tessellate(self.shapes.clone(), self.shape_scale)
    }

    /// Draws what the latest pass produced, on the panel colour of the current theme.
    pub fn picture(&mut self) -> RgbaImage {
        let ground = self.ctx.global_style().visuals.panel_fill.to_opaque();
        self.canvas.clear(ground);
        if !self.shapes.is_empty() {
            let primitives = self.tessellated();
            self.raster.paint(&mut self.canvas, &primitives, self.shape_scale);
        }
        let (width, height) = (self.canvas.width as u32, self.canvas.height as u32);
        let bytes = self.canvas.pixels.as_flattened().to_vec();
        RgbaImage::from_raw(width, height, bytes).expect("a canvas has four bytes for each pixel")
    }

    /// Writes the picture of the latest pass as a PNG file.
    ///
    /// # Errors
    /// When the file cannot be written, or its extension does not name the PNG format.
    pub fn save_png(&mut self, path: &Path) -> image::ImageResult<()> {
        self.picture().save_with_format(path, image::ImageFormat::Png)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_frames_give_the_same_picture() {
        let picture = || {
            let mut shot = Headless::new(240, 120, 1.5, Theme::Dark);
            let mut open = true;
            let mut ui = |ui: &mut egui::Ui| {
                ui.heading("Layers");
                ui.checkbox(&mut open, "Show the empty ones");
                ui.collapsing("More", |ui| ui.label("text"));
            };
            shot.frame(Vec::new(), &mut ui);
            assert!(shot.settle(60, &mut ui));
            shot.picture()
        };
        let first = picture();
        assert_eq!(first.dimensions(), (240, 120));
        assert!(first == picture());
        let bright = first.pixels().filter(|pixel| pixel.0[0] > 120).count();
        assert!(bright > 100, "only {bright} bright pixels: is the text missing?");
        assert!(first.pixels().all(|pixel| pixel.0[3] == 255));
    }

    #[test]
    fn a_click_arrives_and_its_animation_comes_to_rest() {
        /// On the first widget.
        const SPOT: Pos2 = Pos2::new(9.0, 9.0);
        let mut shot = Headless::new(200, 100, 1.0, Theme::Light);
        let mut on = false;
        let mut place = Rect::NOTHING;
        let mut ui = |ui: &mut egui::Ui| place = ui.checkbox(&mut on, "Prune").rect;
        shot.frame(Vec::new(), &mut ui);
        shot.frame(Vec::new(), &mut ui);
        let button = |pressed| Event::PointerButton {
            pos: SPOT,
            button: egui::PointerButton::Primary,
            pressed,
            modifiers: egui::Modifiers::NONE,
        };
        shot.frame(vec![Event::PointerMoved(SPOT), button(true)], &mut ui);
        shot.frame(vec![button(false)], &mut ui);
        assert!(shot.settle(60, &mut ui));
        assert!(place.contains(SPOT));
        assert!(on);
    }
}
