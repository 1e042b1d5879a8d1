//! The window: the only room where egui's types exist, a thin view over a [`crate::session::Live`].
//!
//! ```text
//! input ─► panels (read Live, draw) ─► Vec<Command> ─► Workbench::apply ─► Live ─► jobs ─► events ─► next frame
//! ```
//!
//! Panels never change the session themselves; they push [`Command`]s, which are applied in one place after the frame's
//! drawing. The same [`Workbench::ui`] runs under OpenGL, under the software window, and without any window.

mod beside;
pub mod command;
mod dialogs;
mod export_dialog;
mod facts;
mod file_dialog;
pub mod format;
pub mod hand;
mod launch;
mod opening;
mod panels;
mod preferences;
pub mod raster;
mod recovery;
mod report_dialog;
mod screenshot;
pub mod selection;
mod share;
pub mod shot;
pub mod soft;
pub mod start;
pub mod state;
pub mod taken;
mod target_dialog;
pub mod theme;
pub mod widgets;
mod workbench;

pub use command::Command;
pub use launch::{WindowOptions, open_window};
pub use screenshot::{ShotOptions, shoot};
pub use workbench::Workbench;
