//! Spokeshave: a hand tool for making neural networks smaller.
#![cfg_attr(not(test), warn(clippy::unwrap_used, reason = "an answer is missing for a reason, and the reason is told"))]

pub mod allocate;
pub mod app;
pub mod cli;
pub mod compress;
pub mod control;
pub mod estimate;
pub mod evaluate;
pub mod export;
pub mod formats;
pub mod kernels;
pub mod model;
pub mod profile;
pub mod recipe;
pub mod session;
pub mod share;
