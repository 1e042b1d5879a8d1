//! Spokeshave: a hand tool for making neural networks smaller.
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
pub mod recipe;
pub mod session;
