//! Words about the window and its pictures, and what they come to: plain options that another room can act on.

use super::Failure;
use super::args::{Global, RecipeArgs};
use crate::model::OpenOptions;
use crate::session::Wish;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// `screenshot`.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    /// A file, a folder in the Hugging Face layout, or `demo` [default: demo]
    #[arg(value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// The picture to be written
    #[arg(short, long, value_name = "PNG")]
    pub out: PathBuf,
    /// What to draw: `window`, `welcome`, or the name of a tab
    #[arg(long, value_name = "VIEW", default_value = "window")]
    pub view: String,
    /// Width and height in points
    #[arg(long, value_name = "WxH", default_value = "1280x800", value_parser = parse_size)]
    pub size: (u32, u32),
    /// Colours
    #[arg(long, value_enum, default_value = "dark")]
    pub theme: Theme,
    /// The tensor that is selected
    #[arg(long, value_name = "TENSOR")]
    pub select: Option<String>,
    /// Another checkpoint of the model, to be compared with
    #[arg(long, value_name = "FILE")]
    pub beside: Option<PathBuf>,
    /// Pixels per point
    #[arg(long, default_value = "1.0", value_parser = parse_scale)]
    pub scale: f32,
    /// The recipe that the window shows.
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

impl ScreenshotArgs {
    /// The picture that these words ask for.
    pub(super) fn options(&self, global: &Global) -> Result<ScreenshotOptions, Failure> {
        Ok(ScreenshotOptions {
            model: self.model.clone(),
            wish: self.recipe.wish()?,
            open: global.open_options(),
            out: self.out.clone(),
            view: self.view.clone(),
            size: self.size,
            theme: self.theme,
            select: self.select.clone(),
            beside: self.beside.clone(),
            scale: self.scale,
        })
    }
}

/// Longest side of a picture, before scaling.
const LARGEST_SIDE: u32 = 8192;

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=LARGEST_SIDE).contains(side));
    let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| format!("give WIDTHxHEIGHT such as 1280x800, each from 1 to {LARGEST_SIDE}"))
}

fn parse_scale(text: &str) -> Result<f32, String> {
    let scale = text.parse().ok().filter(|scale| (0.25..=4.0).contains(scale));
    scale.ok_or_else(|| "give a number from 0.25 to 4".to_owned())
}

/// How the window is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Renderer {
    /// OpenGL where there is one, else software
    #[default]
    Auto,
    /// OpenGL
    Gl,
    /// Software
    Soft,
}

/// Colours of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Theme {
    /// Light on dark
    #[default]
    Dark,
    /// Dark on light
    Light,
}

/// What the window is to open with.
#[derive(Clone, Debug)]
pub struct WindowOptions {
    /// The model; `None` is the demo.
    pub model: Option<PathBuf>,
    /// The recipe to start with.
    pub wish: Wish,
    /// How files are read.
    pub open: OpenOptions,
    /// How to draw.
    pub renderer: Renderer,
    /// A checkpoint to stand beside the model.
    pub beside: Option<PathBuf>,
}

/// A picture of the window.
#[derive(Clone, Debug)]
pub struct ScreenshotOptions {
    /// The model; `None` is the demo.
    pub model: Option<PathBuf>,
    /// The recipe that the window shows.
    pub wish: Wish,
    /// How files are read.
    pub open: OpenOptions,
    /// The PNG file.
    pub out: PathBuf,
    /// `window`, `welcome`, or the name of a tab: the window knows which there are.
    pub view: String,
    /// Width and height in points.
    pub size: (u32, u32),
    /// Colours.
    pub theme: Theme,
    /// The tensor that is selected, by its full name.
    pub select: Option<String>,
    /// A checkpoint to stand beside the model.
    pub beside: Option<PathBuf>,
    /// Pixels per point.
    pub scale: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_scales_are_bounded() {
        assert_eq!(parse_size("1280x800"), Ok((1280, 800)));
        assert!(["", "1280", "0x5", "5x0", "-1x5", "1x9999999", "1x2x3"].iter().all(|text| parse_size(text).is_err()));
        assert_eq!(parse_scale("1.5"), Ok(1.5));
        assert!(["NaN", "inf", "0", "-1", "99"].iter().all(|text| parse_scale(text).is_err()));
    }
}
