//! The project's tests from outside, in one binary: the house, the commands, the window, its pictures.

mod architecture;
mod bench;
mod beside;
mod cli;
mod cli_manners;
mod cli_safety;
mod command;
mod corpus;
mod factorized;
#[cfg(target_os = "linux")]
mod faults;
mod ggml;
mod gguf;
mod gguf_choices;
mod gguf_headers;
mod headers;
mod json_text;
mod levels;
mod live;
mod live_blocks;
mod masks;
mod packed;
mod pictures;
mod pytorch;
mod raster_renderer;
mod runtimes;
mod structured;
mod verdict;
mod window;
mod window_compare;
mod window_editor;
mod window_gguf;
mod window_rows;
mod window_share;
mod window_trust;
