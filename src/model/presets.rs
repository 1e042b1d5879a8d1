//! Groups of compressed-tensors that a config has by name alone, `"W4A16": ["Linear"]`, spelled out as its library (0.20,
//! `quantization/quant_scheme.py`) spells them.

use serde_json::{Map, Value, json};

/// Spells out the groups of a `config_groups` that are a list of targets under the name of a preset; what no preset is called stays.
pub fn spell_out(groups: &mut Map<String, Value>) {
    for (name, group) in groups.iter_mut().filter(|(_, group)| group.is_array()) {
        if let Some((weights, activations)) = preset(&name.to_ascii_uppercase()) {
            let targets = group.take();
            *group = json!({"targets": targets, "weights": weights, "input_activations": activations});
        }
    }
}

/// The weights and the activations of a preset.
fn preset(name: &str) -> Option<(Value, Value)> {
    let by_token = |kind: &str, bits: u32| json!({"num_bits": bits, "type": kind, "symmetric": true, "strategy": "token", "dynamic": true});
    let of = |kind: &str, bits: u32, strategy: &str| json!({"num_bits": bits, "type": kind, "symmetric": true, "strategy": strategy, "dynamic": false});
    let grouped = |kind: &str, bits: u32, strategy: &str, size: u32, dynamic: Value| {
        let mut group = of(kind, bits, strategy);
        group["group_size"] = size.into();
        group["dynamic"] = dynamic;
        group
    };
    let fixed = |kind, bits, strategy, size| grouped(kind, bits, strategy, size, false.into());
    let nv = || fixed("float", 4, "tensor_group", 16);
    let mx = || fixed("float", 4, "group", 32);
    Some(match name {
        "W8A8" | "INT8" => (of("int", 8, "channel"), by_token("int", 8)),
        "W4AFP8" => (fixed("int", 4, "group", 128), by_token("float", 8)),
        "W4A16_ASYM" => {
            let mut weights = fixed("int", 4, "group", 128);
            weights["symmetric"] = false.into();
            (weights, Value::Null)
        }
        "FP8" => (of("float", 8, "tensor"), of("float", 8, "tensor")),
        "FP8_DYNAMIC" => (of("float", 8, "channel"), by_token("float", 8)),
        "FP8_BLOCK" => {
            let mut weights = of("float", 8, "block");
            weights["block_structure"] = json!([128, 128]);
            (weights, grouped("float", 8, "group", 128, true.into()))
        }
        "NVFP4A16" => (nv(), Value::Null),
        "NVFP4" => (nv(), grouped("float", 4, "tensor_group", 16, "local".into())),
        "MXFP4A16" => (mx(), Value::Null),
        "MXFP4" => (mx(), grouped("float", 4, "group", 32, true.into())),
        _ => {
            let (bits, activations) = name.strip_prefix('W')?.split_once('A')?;
            let (bits, activations): (u32, u32) = (bits.parse().ok()?, activations.parse().ok()?);
            let known = (2..=8).contains(&bits) && matches!(activations, 4 | 8 | 16) && bits <= activations;
            let rounded = if activations == 16 { Value::Null } else { by_token("int", activations) };
            (fixed("int", bits, "group", 128), known.then_some(rounded)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_are_spelled_out() {
        let mut groups =
            json!({"W4A16": ["Linear"], "fp8_dynamic": ["re:x"], "mine": ["y"], "group_0": {"targets": []}});
        spell_out(groups.as_object_mut().unwrap());
        let weights = |name: &str| groups[name]["weights"].clone();
        assert_eq!((&groups["W4A16"]["targets"], &weights("W4A16")["group_size"]), (&json!(["Linear"]), &json!(128)));
        assert!(groups["W4A16"]["input_activations"].is_null());
        assert_eq!(
            (&weights("fp8_dynamic")["strategy"], &weights("fp8_dynamic")["type"]),
            (&json!("channel"), &json!("float"))
        );
        assert_eq!((&groups["mine"], &groups["group_0"]), (&json!(["y"]), &json!({"targets": []})));
        for unknown in ["W1A16", "W8A4", "W4A5", "WA", "W4", ""] {
            assert!(preset(unknown).is_none(), "{unknown}");
        }
    }
}
