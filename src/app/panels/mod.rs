//! One file per part of the window; each draws from the session and pushes commands, and keeps nothing of its own.

pub mod banner;
mod bytes;
mod clip;
mod compare;
pub mod copy_as;
pub mod dials;
pub mod digits;
pub mod distribution;
mod elide;
mod factorize;
pub mod figures;
pub mod guide;
pub mod header;
pub mod jobs;
pub mod layer;
pub mod layers;
mod number_formats;
pub mod pixels;
mod plot;
mod prune;
mod quantize;
pub mod rows;
pub mod scheme;
mod spectrum;
pub mod totals;
pub mod tradeoff;
pub mod welcome;
