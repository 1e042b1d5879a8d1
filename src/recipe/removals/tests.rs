//! What plans remove, on models of names alone.

use super::*;
use crate::recipe::{Plan, Recipe};

const MLP: &[(&str, &[usize])] = &[
    ("fc1.weight", &[8, 5]),
    ("fc1.bias", &[8]),
    ("fc2.weight", &[6, 8]),
    ("fc2.bias", &[6]),
    ("fc3.weight", &[3, 6]),
];

fn plan(model: &Model, set: &[&str]) -> Result<Plan, Error> {
    let mut recipe = Recipe::default();
    for setting in set {
        recipe.set(model, setting)?;
    }
    Plan::new(model, &recipe, false)
}

fn shape<'a>(plan: &'a Plan, model: &'a Model, name: &str) -> &'a [usize] {
    plan.removals.shape(model, model.find(name).unwrap())
}

fn note<'a>(plan: &'a Plan, model: &Model, name: &str) -> &'a str {
    plan.removals.note(model.find(name).unwrap()).unwrap_or_default()
}

#[test]
fn a_row_goes_with_its_bias_and_the_column_that_reads_it() {
    let model = Model::named(MLP, None);
    let p = plan(&model, &["fc1.weight=rows:0.25"]).unwrap();
    for (name, left) in [
        ("fc1.weight", &[6, 5][..]),
        ("fc1.bias", &[6]),
        ("fc2.weight", &[6, 6]),
        ("fc2.bias", &[6]),
        ("fc3.weight", &[3, 6]),
    ] {
        assert_eq!(shape(&p, &model, name), left, "{name}");
    }
    assert_eq!(note(&p, &model, "fc1.weight"), r#"2 of 8 rows removed with "fc1.bias" and "fc2.weight""#);
    assert_eq!(note(&p, &model, "fc2.weight"), r#"2 of 8 columns removed with "fc1.weight""#);
    let cut = &p.removals.cuts[0];
    assert_eq!((cut.removed, cut.ranked_by.len(), cut.parts.len(), cut.zeroed), (2, 1, 3, false));
    // Columns ask for the same dimension from its other end, and are ranked there.
    let cols = plan(&model, &["fc2.weight=cols:0.25"]).unwrap();
    assert_eq!((shape(&cols, &model, "fc1.weight"), shape(&cols, &model, "fc2.weight")), (&[6, 5][..], &[6, 6][..]));
    assert_eq!(
        cols.removals.cuts[0].ranked_by[0],
        Part { tensor: 3, axis: 1, sections: vec![Section { start: 0, width: 1 }] }
    );
    // Half a row is rounded up: ⌊0.3·8 + ½⌋ = 2, ⌊0.32·8 + ½⌋ = 3.
    assert_eq!(plan(&model, &["fc1.weight=rows:0.32"]).unwrap().removals.cuts[0].removed, 3);
    assert!(plan(&model, &["fc1.weight=rows:0.01"]).unwrap().removals.cuts.is_empty());
}

#[test]
fn a_rule_for_everything_cuts_each_dimension_once_and_zeroes_the_ends() {
    let model = Model::named(MLP, None);
    let p = plan(&model, &["*=rows:0.5"]).unwrap();
    assert_eq!((shape(&p, &model, "fc1.weight"), shape(&p, &model, "fc2.weight")), (&[4, 5][..], &[3, 4][..]));
    assert_eq!((shape(&p, &model, "fc3.weight"), p.removals.cuts.len()), (&[3, 3][..], 3));
    let said =
        r#"2 of 3 rows zeroed, not removed: it is the output of the network; 3 of 6 columns removed with "fc2.weight""#;
    assert_eq!(note(&p, &model, "fc3.weight"), said);
}

#[test]
fn overrides_outrank_rules_and_of_overrides_the_larger_share_counts() {
    let model = Model::named(MLP, None);
    let removed = |set: &[&str]| plan(&model, set).unwrap().removals.cuts[0].removed;
    assert_eq!(removed(&["*1.weight=rows:0.5", "fc2.weight=cols:0.25"]), 2);
    assert_eq!(removed(&["*1.weight=rows:0.5", "*2.weight=cols:0.25"]), 2);
    assert_eq!(removed(&["*2.weight=cols:0.25", "*1.weight=rows:0.5"]), 4);
    for set in [["fc1.weight=rows:0.5", "fc2.weight=cols:0.25"], ["fc2.weight=cols:0.25", "fc1.weight=rows:0.5"]] {
        let p = plan(&model, &set).unwrap();
        assert_eq!((p.removals.cuts[0].removed, p.removals.cuts[0].ranked_by[0].tensor), (4, 1));
        assert_eq!(
            note(&p, &model, "fc2.weight").split(';').next().unwrap(),
            r#""fc1.weight" decides how many units go"#
        );
    }
}

#[test]
fn removing_everything_zeroes_and_a_lock_refuses() {
    let model = Model::named(MLP, None);
    let p = plan(&model, &["fc1.weight=rows:1"]).unwrap();
    assert_eq!((shape(&p, &model, "fc2.weight"), p.removals.cuts[0].parts.len()), (&[6, 8][..], 3));
    assert!(note(&p, &model, "fc1.bias").ends_with("nothing would be left of that dimension"));
    let mut recipe = Recipe { locked: vec!["fc2.weight".into()], ..Recipe::default() };
    recipe.set(&model, "fc1.weight=rows:0.5").unwrap();
    let refused = Plan::new(&model, &recipe, false).unwrap_err().to_string();
    assert!(
        refused.contains("fc2.weight") && refused.contains("fc1.weight") && refused.contains("locked"),
        "{refused}"
    );
    // What a locked tensor asks for itself is its own choice.
    recipe.locked = vec!["fc1.weight".into()];
    assert!(Plan::new(&model, &recipe, false).is_ok());
}

const CONFIG: &str =
    r#"{"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 6}"#;

fn llama(config: Option<&str>) -> Model {
    let mut list: Vec<(String, &[usize])> = Vec::new();
    for block in 0..2 {
        let own: [(&str, &[usize]); 7] = [
            ("self_attn.q_proj", &[8, 8]),
            ("self_attn.k_proj", &[8, 8]),
            ("self_attn.v_proj", &[8, 8]),
            ("self_attn.o_proj", &[8, 8]),
            ("mlp.gate_proj", &[6, 8]),
            ("mlp.up_proj", &[6, 8]),
            ("mlp.down_proj", &[8, 6]),
        ];
        list.extend(own.iter().map(|(name, shape)| (format!("model.layers.{block}.{name}.weight"), *shape)));
    }
    Model::named(&list, config)
}

#[test]
fn blocks_that_lose_the_same_are_removed_and_the_config_follows() {
    let model = llama(Some(CONFIG));
    let p =
        plan(&model, &["*proj.weight=keep", "*self_attn*=heads:0.5", "*gate_proj.weight=ffn:0.34+int4:row"]).unwrap();
    for (name, left) in
        [("self_attn.q_proj", [4, 8]), ("self_attn.o_proj", [8, 4]), ("mlp.up_proj", [4, 8]), ("mlp.down_proj", [8, 4])]
    {
        assert_eq!(shape(&p, &model, &format!("model.layers.1.{name}.weight")), left, "{name}");
    }
    let config: Vec<(&str, usize)> = p.removals.config.iter().map(|(&key, &number)| (key, number)).collect();
    let wanted = [("head_dim", 2), ("intermediate_size", 4), ("num_attention_heads", 2), ("num_key_value_heads", 2)];
    assert_eq!(config, wanted);
    assert!(
        note(&p, &model, "model.layers.0.self_attn.k_proj.weight")
            .starts_with("4 of 8 rows (2 of 4 heads) removed with")
    );
    // Heads are ranked by all that they own, hidden units by all three matrices; each dimension once.
    assert_eq!(p.removals.cuts.iter().map(|c| c.ranked_by.len()).collect::<Vec<_>>(), [3, 4, 3, 4]);
}

#[test]
fn blocks_that_differ_are_zeroed_because_the_config_has_one_number() {
    let model = llama(Some(CONFIG));
    let only = plan(&model, &["*.0.mlp.up_proj.weight=ffn:0.5"]).unwrap();
    assert_eq!(shape(&only, &model, "model.layers.0.mlp.up_proj.weight"), [6, 8]);
    assert_eq!((only.removals.cuts[0].zeroed, only.removals.cuts[0].parts.len()), (true, 3));
    assert!(only.removals.config.is_empty());
    let why = note(&only, &model, "model.layers.0.mlp.down_proj.weight");
    assert!(why.contains("3 of 6 columns zeroed") && why.contains("one intermediate_size for all blocks"), "{why}");
    // Without a config nothing forbids it.
    let free = llama(None);
    let p = plan(&free, &["*.0.mlp.up_proj.weight=ffn:0.5"]).unwrap();
    assert_eq!(shape(&p, &free, "model.layers.0.mlp.down_proj.weight"), [8, 3]);
}

#[test]
fn the_stream_is_zeroed_alone_and_what_has_no_heads_is_left() {
    let model = llama(Some(CONFIG));
    let p = plan(&model, &["*o_proj.weight=rows:0.25", "*up_proj.weight=cols:0.25"]).unwrap();
    assert!(p.removals.cuts.iter().all(|c| c.zeroed && c.parts.len() == 1));
    assert!(note(&p, &model, "model.layers.0.self_attn.o_proj.weight").contains("residual stream"));
    let rows = plan(&model, &["*q_proj.weight=rows:0.25"]).unwrap();
    assert!(note(&rows, &model, "model.layers.0.self_attn.q_proj.weight").contains("heads:P removes whole"));
    let all = plan(&model, &["*=heads:0.25"]).unwrap();
    assert_eq!(
        note(&all, &model, "model.layers.0.mlp.up_proj.weight"),
        "left as it is: it has no part in attention heads"
    );
    let none = plan(&model, &["*mlp*=heads:0.25"]).unwrap_err().to_string();
    assert!(none.contains("no part in attention heads"), "{none}");
    let unknown = plan(&llama(None), &["*self_attn*=heads:0.25"]).unwrap_err().to_string();
    assert!(unknown.contains("config.json"), "{unknown}");
}

#[test]
fn an_unknown_graph_is_zeroed_in_the_tensor_alone() {
    let model = Model::named(&[("a.w", &[4, 6][..]), ("b.w", &[6, 4]), ("b.v", &[4])], None);
    for (set, parts) in [("a.w=rows:0.5", 0), ("a.w=cols:0.5", 1), ("a.w=ffn:0.5", 0)] {
        let p = plan(&model, &[set]).unwrap();
        assert_eq!(
            (p.removals.cuts.len(), p.removals.cuts[0].parts[0].axis, p.removals.cuts[0].zeroed),
            (1, parts, true)
        );
        assert_eq!(shape(&p, &model, "a.w"), [4, 6]);
        assert!(note(&p, &model, "a.w").contains("names do not tell"), "{set}");
    }
    // A vector is one row.
    let one = plan(&model, &["b.v=rows:0.5"]).unwrap();
    assert_eq!((one.removals.cuts[0].units, one.removals.cuts[0].removed), (1, 1));
    assert!(plan(&model, &["b.v=rows:0.4"]).unwrap().removals.cuts.is_empty());
    assert!(note(&plan(&model, &["b.v=cols:0.5"]).unwrap(), &model, "b.v").contains("no such dimension"));
}

#[test]
fn units_are_sought_nowhere_where_names_tell_other_parts_alone() {
    // A state-space model has an embedding and a head, and no feed-forward blocks.
    let names: [(&str, &[usize]); 3] = [
        ("backbone.embeddings.weight", &[50, 8]),
        ("backbone.layers.0.mixer.in_proj.weight", &[32, 8]),
        ("lm_head.weight", &[50, 8]),
    ];
    let list: Vec<_> = names.iter().map(|(name, shape)| ((*name).to_owned(), *shape)).collect();
    let model = Model::named(&list, None);
    let refused = plan(&model, &["*=ffn:0.25"]).unwrap_err().to_string();
    assert!(refused.contains("no part in the hidden units"), "{refused}");
    let experts = [("blk.0.ffn_up_exps.weight".to_owned(), &[4_usize, 32, 8][..])];
    let refused = plan(&Model::named(&experts, None), &["*=ffn:0.25"]).unwrap_err().to_string();
    assert!(refused.contains("all experts in one array"), "{refused}");
}
