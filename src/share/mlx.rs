//! MLX's own words for a choice: the `quantization` block of a `config.json`, one form for all layers and beside it each layer that
//! has another.

use super::{Choice, Error, only_stored_otherwise};
use crate::recipe::Target;
use crate::recipe::runtime_config::{self, MLX_KEY};
use serde_json::json;

const PROGRAM: &str = "MLX";

/// The block, as JSON.
///
/// # Errors
/// What it has no words for.
pub fn block(choice: Choice<'_>) -> Result<String, Error> {
    let Choice { model, plan, .. } = choice;
    let refused = |what: String, instead| Err(Error::NoWords { program: PROGRAM, what, instead });
    if plan.target != Target::Mlx {
        return refused(format!("target {}", plan.target.name()), "take target mlx");
    }
    only_stored_otherwise(choice, PROGRAM, "export it with --target mlx, whose files hold the zeros")?;
    let values = runtime_config::values(model, plan);
    match values.into_iter().find(|(key, _)| *key == MLX_KEY).and_then(|(_, value)| value) {
        Some(block) => Ok(format!("{:#}\n", json!({ MLX_KEY: block }))),
        None => refused("a choice that quantizes nothing".into(), "choose bits first"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::told;
    use super::*;

    #[test]
    fn the_block_is_that_of_the_config() {
        let text = told(Target::Mlx, &["*=int4:g64", "*down_proj*=int8:g32"], block).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let block = &read["quantization"];
        assert_eq!((&block["bits"], &block["group_size"]), (&json!(4), &json!(64)));
        assert_eq!(block["model.layers.0.mlp.down_proj"], json!({"bits": 8, "group_size": 32}));
        let refused = |target, settings: &[&str]| told(target, settings, super::block).unwrap_err().to_string();
        assert!(refused(Target::Mlx, &["*=prune:0.5+int4:g64"]).contains("prune:0.5+int4:g64 on"));
        assert!(
            refused(Target::Packed, &[]).contains("target packed") && refused(Target::Mlx, &[]).contains("nothing")
        );
    }
}
