//! Measured accuracy: the compressed network is really run, and the number carries its standard error.
//!
//! | file | what it settles |
//! |---|---|
//! | [`mnist`] | the labelled test set inside the program |
//! | [`mlp`] | the forward pass of a multilayer perceptron |
//! | [`network`] | which models the program can run, and how a plan's weights get into them |

pub mod mlp;
pub mod mnist;
pub mod network;

pub use mlp::{Accuracy, Mlp};
pub use network::Network;
