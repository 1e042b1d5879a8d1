//! Numbers by which activations are rounded, where codes stand beside them: they go where the codes go, and are left out where none stay.
//!
//! compressed-tensors writes them for settings that are not dynamic: of what goes into a layer and what comes out of it beside the
//! layer's codes (`input_activations`, `output_activations`), of what a cache holds beside the attention (`kv_cache_scheme`).
//! A reader of dense weights, or of other codes, knows none of these names, and some refuse a folder that has them.

use super::{Error, Plan, Target};
use crate::formats::assembly::WEIGHT;
use crate::formats::error::quoted;
use crate::model::Model;
use std::collections::BTreeSet;

/// What stands beside the codes of a layer and says how its activations are rounded.
const OF_LAYERS: &[&str] = &[
    "input_scale",
    "input_zero_point",
    "input_global_scale",
    "output_scale",
    "output_zero_point",
    "output_global_scale",
    // transformers' own fp8.
    "activation_scale",
];
/// What says how keys, values and queries are rounded in a cache.
const OF_CACHES: &[&str] = &[
    "k_scale",
    "v_scale",
    "q_scale",
    "k_zero_point",
    "v_zero_point",
    "q_zero_point",
    "k_global_scale",
    "v_global_scale",
];

impl Plan {
    /// Which of them an artifact has no codes for.
    ///
    /// # Errors
    /// When the recipe asks something of one of these.
    pub(super) fn without_codes(&self, model: &Model) -> Result<BTreeSet<usize>, Error> {
        let mut left = BTreeSet::new();
        if !model.is_assembled() {
            return Ok(left);
        }
        let stays = |index: usize| {
            let assembly = model.tensors[index].assembly();
            !self.is_touched(index) && assembly.is_some_and(|assembly| self.target.takes(assembly))
        };
        // What a config says of caches it says of the whole network, as long as it has a block of its own.
        let cached = self.target == Target::CompressedTensors && (0..model.tensors.len()).any(stays);
        for (index, tensor) in model.tensors.iter().enumerate() {
            let Some((module, part)) = tensor.name.rsplit_once('.') else { continue };
            let belongs = if OF_LAYERS.contains(&part) {
                let coded = model.find(&[module, WEIGHT].concat()).filter(|&i| model.tensors[i].assembly().is_some());
                coded.is_none_or(stays)
            } else {
                cached || !OF_CACHES.contains(&part)
            };
            if belongs {
                continue;
            }
            if self.is_touched(index) {
                let why = format!(
                    "{} says how activations are rounded beside codes that are stored otherwise now, and is left out",
                    quoted(&tensor.name)
                );
                let instead = "take it out of the recipe".to_owned();
                return Err(Error::Source { target: self.target.name(), why, instead });
            }
            left.insert(index);
        }
        Ok(left)
    }
}
