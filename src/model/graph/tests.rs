//! Graphs of name lists as real files have them.

use super::*;
use crate::model::Model;

type Named<'a> = Vec<(String, &'a [usize])>;

/// The members of every dimension in words: `fc1.weight/0`, in name order.
fn members(model: &Model) -> Vec<(Kind, usize, String)> {
    let graph = model.graph();
    let word = |m: &Member| format!("{}/{}", model.tensors[m.tensor].name, m.axis);
    let all = |d: &Dimension| {
        let mut words: Vec<String> = d.members.iter().map(word).collect();
        words.sort();
        (d.kind, d.units, words.join(" "))
    };
    graph.dimensions.iter().map(all).collect()
}

fn alone(model: &Model, name: &str, axis: usize) -> Option<Alone> {
    match model.graph().side(model.find(name).unwrap(), axis) {
        Side::Alone(why) => Some(why),
        Side::Shared(_) => None,
    }
}

fn named<'a>(list: &[(&str, &'a [usize])]) -> Named<'a> {
    list.iter().map(|(name, shape)| ((*name).to_owned(), *shape)).collect()
}

fn chain(list: &[(&str, &[usize])]) -> Vec<(usize, String)> {
    members(&Model::named(list, None)).into_iter().map(|(_, units, words)| (units, words)).collect()
}

#[test]
fn an_mlp_is_a_chain() {
    let lenet: &[(&str, &[usize])] = &[
        ("fc1.weight", &[300, 784]),
        ("fc1.bias", &[300]),
        ("fc2.weight", &[100, 300]),
        ("fc2.bias", &[100]),
        ("fc3.weight", &[10, 100]),
        ("fc3.bias", &[10]),
    ];
    assert_eq!(
        chain(lenet),
        [(300, "fc1.bias/0 fc1.weight/0 fc2.weight/1".into()), (100, "fc2.bias/0 fc2.weight/0 fc3.weight/1".into())]
    );
    let model = Model::named(lenet, None);
    assert_eq!(
        (alone(&model, "fc1.weight", 1), alone(&model, "fc3.weight", 0)),
        (Some(Alone::Input), Some(Alone::Output))
    );
    // Ten comes after two, and the last is called so.
    let sequential: &[(&str, &[usize])] = &[
        ("net.10.weight", &[7, 6]),
        ("net.2.weight", &[6, 5]),
        ("net.0.weight", &[5, 4]),
        ("net.out.weight", &[3, 7]),
    ];
    let units: Vec<usize> = chain(sequential).iter().map(|d| d.0).collect();
    assert_eq!(units, [5, 6, 7]);
}

#[test]
fn convolutions_with_norms_lead_into_an_mlp() {
    let vgg: &[(&str, &[usize])] = &[
        ("features.0.weight", &[8, 3, 3, 3]),
        ("features.0.bias", &[8]),
        ("features.1.weight", &[8]),
        ("features.1.bias", &[8]),
        ("features.1.running_mean", &[8]),
        ("features.1.running_var", &[8]),
        ("features.1.num_batches_tracked", &[]),
        ("features.4.weight", &[16, 8, 3, 3]),
        ("classifier.1.weight", &[32, 16 * 49]),
        ("classifier.4.weight", &[10, 32]),
    ];
    let model = Model::named(vgg, None);
    let found = members(&model);
    assert_eq!(
        found[0].2,
        "features.0.bias/0 features.0.weight/0 features.1.bias/0 features.1.running_mean/0 features.1.running_var/0 \
         features.1.weight/0 features.4.weight/1"
    );
    assert_eq!(found[1].2, "classifier.1.weight/1 features.4.weight/0");
    let flat = &model.graph().dimensions[1].members[1];
    assert_eq!((flat.sections.clone(), flat.is_plain()), (vec![Section { start: 0, width: 49 }], false));
    let statistics = model.graph().dimensions[0].members.iter().filter(|m| !m.zeroed).count();
    assert_eq!((found.len(), statistics), (3, 2));
    // CREPE flattens with channels last.
    let crepe: &[(&str, &[usize])] = &[
        ("conv1.weight", &[4, 1, 8, 1]),
        ("conv1_BN.weight", &[4]),
        ("conv1_BN.running_var", &[4]),
        ("conv2.weight", &[3, 4, 8, 1]),
        ("conv2_BN.weight", &[3]),
        ("classifier.weight", &[5, 12]),
    ];
    let model = Model::named(crepe, None);
    assert_eq!(members(&model)[0].2, "conv1.weight/0 conv1_BN.running_var/0 conv1_BN.weight/0 conv2.weight/1");
    let flat = model.graph().dimensions[1].members.iter().find(|m| m.axis == 1).unwrap();
    assert_eq!(flat.indices(1).collect::<Vec<_>>(), [1..2, 4..5, 7..8, 10..11]);
}

#[test]
fn what_leaves_a_doubt_is_no_chain() {
    for doubtful in [
        // The halves of an autoencoder fit the wrong way round.
        named(&[
            ("encoder.0.weight", &[9, 12]),
            ("encoder.2.weight", &[4, 9]),
            ("decoder.0.weight", &[9, 4]),
            ("decoder.2.weight", &[12, 9]),
        ]),
        // Shapes that do not follow from each other.
        named(&[("fc1.weight", &[9, 12]), ("fc2.weight", &[4, 8])]),
        // A vector that belongs to nothing (a PReLU's slopes).
        named(&[("fc1.weight", &[9, 12]), ("act1.slope", &[9]), ("act2.slope", &[4]), ("fc2.weight", &[4, 9])]),
        // Groups of channels.
        named(&[("conv1.weight", &[8, 3, 3, 3]), ("conv2.weight", &[8, 2, 3, 3])]),
        named(&[("fc1.weight", &[9, 12]), ("lstm.weight_ih_l0", &[36, 9])]),
        named(&[("weight", &[9, 9])]),
    ] {
        let model = Model::named(&doubtful, None);
        assert!(model.graph().dimensions.is_empty(), "{doubtful:?}");
        assert_eq!(alone(&model, &model.tensors[0].name, 0), Some(Alone::Unknown));
    }
}

const LLAMA: &str =
    r#"{"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 24}"#;

fn llama<'a>(blocks: usize, head: &[(&str, &'a [usize])]) -> Named<'a> {
    let mut list =
        named(&[("lm_head.weight", &[50, 16]), ("model.embed_tokens.weight", &[50, 16]), ("model.norm.weight", &[16])]);
    for block in 0..blocks {
        let own: [(&str, &[usize]); 9] = [
            ("input_layernorm.weight", &[16]),
            ("self_attn.q_proj.weight", &[16, 16]),
            ("self_attn.k_proj.weight", &[8, 16]),
            ("self_attn.v_proj.weight", &[8, 16]),
            ("self_attn.o_proj.weight", &[16, 16]),
            ("post_attention_layernorm.weight", &[16]),
            ("mlp.gate_proj.weight", &[24, 16]),
            ("mlp.up_proj.weight", &[24, 16]),
            ("mlp.down_proj.weight", &[16, 24]),
        ];
        list.extend(own.iter().chain(head).map(|(name, shape)| (format!("model.layers.{block}.{name}"), *shape)));
    }
    list
}

#[test]
fn llama_and_qwen_share_heads_and_hidden_units() {
    let model = Model::named(&llama(2, &[]), Some(LLAMA));
    let found = members(&model);
    assert_eq!(found.len(), 4);
    let of_block: Vec<&str> = found[..2].iter().map(|d| d.2.as_str()).collect();
    let block = "model.layers.0.";
    let heads =
        "self_attn.k_proj.weight/0 self_attn.o_proj.weight/1 self_attn.q_proj.weight/0 self_attn.v_proj.weight/0";
    let units = "mlp.down_proj.weight/1 mlp.gate_proj.weight/0 mlp.up_proj.weight/0";
    let spelled = |words: &str| words.split(' ').map(|w| format!("{block}{w}")).collect::<Vec<_>>().join(" ");
    assert!(of_block.contains(&spelled(heads).as_str()) && of_block.contains(&spelled(units).as_str()), "{found:?}");
    let heads = model.graph().dimensions.iter().find(|d| d.kind == Kind::Heads).unwrap();
    let widths: Vec<usize> = heads.members.iter().map(Member::width).collect();
    // Two groups, each with two queries of four.
    assert_eq!((heads.units, widths), (2, vec![8, 4, 4, 8]));
    let per_unit = vec![("num_attention_heads", 2), ("num_key_value_heads", 1)];
    assert_eq!(heads.law, Law::Config { per_unit, fixed: vec![("head_dim", 4)] });
    for (name, axis, why) in [
        ("model.embed_tokens.weight", 0, Alone::Vocabulary),
        ("model.embed_tokens.weight", 1, Alone::Residual),
        ("lm_head.weight", 0, Alone::Output),
        ("lm_head.weight", 1, Alone::Residual),
        ("model.layers.1.self_attn.q_proj.weight", 1, Alone::Residual),
        ("model.layers.1.self_attn.o_proj.weight", 0, Alone::Residual),
        ("model.layers.1.mlp.up_proj.weight", 1, Alone::Residual),
        ("model.layers.1.mlp.down_proj.weight", 0, Alone::Residual),
    ] {
        assert_eq!(alone(&model, name, axis), Some(why), "{name} {axis}");
    }
    // Qwen2's biases follow; Qwen3's norms of a head are shared by all, and tell the size of one without a config.
    let biases: [(&str, &[usize]); 3] =
        [("self_attn.q_proj.bias", &[16]), ("self_attn.k_proj.bias", &[8]), ("self_attn.v_proj.bias", &[8])];
    let qwen2 = Model::named(&llama(1, &biases), Some(&LLAMA.replace("llama", "qwen2")));
    let heads = qwen2.graph().dimensions.iter().find(|d| d.kind == Kind::Heads).unwrap();
    assert_eq!(heads.members.len(), 7);
    let norms: [(&str, &[usize]); 2] = [("self_attn.q_norm.weight", &[4]), ("self_attn.k_norm.weight", &[4])];
    let qwen3 = Model::named(&llama(1, &norms), None);
    let heads = qwen3.graph().dimensions.iter().find(|d| d.kind == Kind::Heads).unwrap();
    assert_eq!((heads.units, heads.members.len(), &heads.law), (2, 4, &Law::Free));
}

#[test]
fn heads_are_known_only_where_something_tells_their_size() {
    let without = Model::named(&llama(1, &[]), None);
    assert_eq!(members(&without).len(), 1);
    assert_eq!(alone(&without, "model.layers.0.self_attn.q_proj.weight", 0), Some(Alone::Unknown));
    // A config of another model says nothing.
    let other = Model::named(&llama(1, &[]), Some(&LLAMA.replace(": 4", ": 5")));
    assert_eq!(members(&other).len(), 1);
    // An architecture by its class alone; a config that names none, and must follow all the same; none with heads.
    let law = |config: &str| {
        let model = Model::named(&llama(1, &[("self_attn.q_norm.weight", &[4])]), Some(config));
        model.graph().dimensions.iter().find(|d| d.kind == Kind::Heads).map(|d| d.law.clone())
    };
    let numbers = r#""num_attention_heads": 4, "num_key_value_heads": 2"#;
    for named in [r#""architectures": ["LlamaForCausalLM"], "#, ""] {
        assert!(matches!(law(&format!("{{{named}{numbers}}}")), Some(Law::Config { .. })), "{named}");
    }
    assert_eq!(law(r#"{"hidden_size": 16}"#), Some(Law::Free));
    assert!(matches!(law(&format!(r#"{{"model_type": "vit", {numbers}}}"#)), Some(Law::Never(_))));
    // One tensor per query head that nobody knows.
    let sinks: [(&str, &[usize]); 1] = [("self_attn.sinks", &[4])];
    assert_eq!(members(&Model::named(&llama(1, &sinks), Some(LLAMA))).len(), 1);
    // One key and value for all: queries go one by one.
    let one = LLAMA.replace(r#"num_key_value_heads": 2"#, r#"num_key_value_heads": 1"#);
    let mut list = llama(1, &[]);
    list.iter_mut().filter(|(n, _)| n.contains("k_proj") || n.contains("v_proj")).for_each(|t| t.1 = &[4, 16]);
    let model = Model::named(&list, Some(&one));
    let heads = model.graph().dimensions.iter().find(|d| d.kind == Kind::Heads).unwrap();
    assert_eq!((heads.units, heads.members.len()), (4, 2));
}

#[test]
fn numbers_that_other_matrices_hang_on_stay() {
    let block = |experts: &str, width: usize| {
        let shapes: [&'static [usize]; 2] = if width == 6 { [&[6, 8], &[8, 6]] } else { [&[12, 8], &[8, 12]] };
        let of = |part: &str| format!("model.layers.0.mlp.{experts}.{part}_proj.weight");
        [(of("down"), shapes[1]), (of("gate"), shapes[0]), (of("up"), shapes[0])]
    };
    let laws = |shared: usize| -> Vec<Law> {
        let list = [block("experts.0", 6), block("experts.1", 6), block("shared_experts", 6 * shared)].concat();
        let config = format!(
            r#"{{"model_type": "deepseek_v3", "moe_intermediate_size": 6, "intermediate_size": 24, "n_shared_experts": {shared}}}"#
        );
        Model::named(&list, Some(&config)).graph().dimensions.iter().map(|dimension| dimension.law.clone()).collect()
    };
    // One shared expert is as wide as the others; two are twice as wide together, and none of them can go alone.
    let one = Law::Config { per_unit: vec![("moe_intermediate_size", 1)], fixed: Vec::new() };
    assert_eq!(laws(1), [one.clone(), one.clone(), one]);
    assert!(laws(2).iter().all(|law| matches!(law, Law::Never(_))));
    for (family, kind) in [("helium", Kind::Heads), ("lfm2", Kind::FeedForward)] {
        let config = LLAMA.replace("\"llama\"", &format!("\"{family}\""));
        let model = Model::named(&llama(1, &[]), Some(&config));
        let of = |kind| &model.graph().dimensions.iter().find(|dimension| dimension.kind == kind).unwrap().law;
        assert!(matches!(of(kind), Law::Never(_)), "{family}");
    }
}

#[test]
fn bert_and_gpt2_say_their_widths_in_their_own_words() {
    let part = |name: &str| format!("bert.encoder.layer.0.{name}");
    let list: Vec<(String, &[usize])> = [
        ("attention.self.query.weight", &[8, 8][..]),
        ("attention.self.query.bias", &[8]),
        ("attention.self.key.weight", &[8, 8]),
        ("attention.self.value.weight", &[8, 8]),
        ("attention.output.dense.weight", &[8, 8]),
        ("attention.output.dense.bias", &[8]),
        ("attention.output.LayerNorm.weight", &[8]),
        ("intermediate.dense.weight", &[12, 8]),
        ("intermediate.dense.bias", &[12]),
        ("output.dense.weight", &[8, 12]),
        ("output.dense.bias", &[8]),
    ]
    .map(|(name, shape)| (part(name), shape))
    .into();
    let config = r#"{"model_type": "bert", "num_attention_heads": 2, "intermediate_size": 12, "hidden_size": 8}"#;
    let model = Model::named(&list, Some(config));
    let dimension = |kind: Kind| model.graph().dimensions.iter().find(|d| d.kind == kind).unwrap();
    assert!(matches!(dimension(Kind::Heads).law, Law::Never(_)));
    assert_eq!((dimension(Kind::Heads).units, dimension(Kind::Heads).members.len()), (2, 5));
    let width = Law::Config { per_unit: vec![("intermediate_size", 1)], fixed: Vec::new() };
    assert_eq!((&dimension(Kind::FeedForward).law, dimension(Kind::FeedForward).members.len()), (&width, 3));
    // GPT-2 keeps weights as inputs × outputs, and leaves a width out that is four times the stream.
    let gpt2 = [
        ("h.0.mlp.c_fc.weight", &[6, 24][..]),
        ("h.0.mlp.c_fc.bias", &[24]),
        ("h.0.mlp.c_proj.weight", &[24, 6]),
        ("h.0.mlp.c_proj.bias", &[6]),
        ("h.0.attn.c_attn.weight", &[6, 18]),
        ("h.0.attn.c_attn.bias", &[18]),
        ("h.0.attn.c_proj.weight", &[6, 6]),
    ];
    let model = Model::named(&gpt2, Some(r#"{"model_type": "gpt2", "n_embd": 6, "n_head": 3, "n_inner": null}"#));
    let found = members(&model);
    assert!(
        found.iter().any(|d| d.2 == "h.0.mlp.c_fc.bias/0 h.0.mlp.c_fc.weight/1 h.0.mlp.c_proj.weight/0"),
        "{found:?}"
    );
    let heads = model.graph().dimensions.iter().find(|d| d.kind == Kind::Heads).unwrap();
    assert_eq!(heads.members[0].indices(1).collect::<Vec<_>>(), [2..4, 8..10, 14..16]);
    assert_eq!((heads.units, alone(&model, "h.0.attn.c_attn.weight", 0)), (3, Some(Alone::Residual)));
}

#[test]
fn the_inside_of_a_residual_block_is_a_chain_and_its_ends_are_the_stream() {
    let resnet: &[(&str, &[usize])] = &[
        ("conv1.weight", &[8, 3, 7, 7]),
        ("bn1.weight", &[8]),
        ("layer1.0.conv1.weight", &[4, 8, 1, 1]),
        ("layer1.0.bn1.weight", &[4]),
        ("layer1.0.bn1.bias", &[4]),
        ("layer1.0.bn1.running_mean", &[4]),
        ("layer1.0.conv2.weight", &[4, 4, 3, 3]),
        ("layer1.0.bn2.weight", &[4]),
        ("layer1.0.conv3.weight", &[16, 4, 1, 1]),
        ("layer1.0.bn3.weight", &[16]),
        ("layer1.0.downsample.0.weight", &[16, 8, 1, 1]),
        ("fc.weight", &[10, 16]),
    ];
    let model = Model::named(resnet, None);
    let words: Vec<String> = members(&model).into_iter().map(|d| d.2).collect();
    assert_eq!(
        words,
        [
            "layer1.0.bn1.bias/0 layer1.0.bn1.running_mean/0 layer1.0.bn1.weight/0 layer1.0.conv1.weight/0 \
             layer1.0.conv2.weight/1",
            "layer1.0.bn2.weight/0 layer1.0.conv2.weight/0 layer1.0.conv3.weight/1"
        ]
    );
    for (name, axis, why) in [
        ("conv1.weight", 0, Alone::Residual),
        ("conv1.weight", 1, Alone::Input),
        ("layer1.0.conv3.weight", 0, Alone::Residual),
        ("layer1.0.conv1.weight", 1, Alone::Residual),
        ("layer1.0.downsample.0.weight", 0, Alone::Residual),
        ("fc.weight", 0, Alone::Output),
    ] {
        assert_eq!(alone(&model, name, axis), Some(why), "{name} {axis}");
    }
}

#[test]
fn without_biases_the_embedding_tells_how_gpt2_lies() {
    let of = |up: [usize; 2], down: [usize; 2]| {
        let list: [(&str, &[usize]); 3] =
            [("wte.weight", &[50, 16]), ("h.0.mlp.c_fc.weight", &up), ("h.0.mlp.c_proj.weight", &down)];
        let model = Model::named(&named(&list), None);
        members(&model)
    };
    let inputs_by_outputs = of([16, 64], [64, 16]);
    let outputs_by_inputs = of([64, 16], [16, 64]);
    assert_eq!(inputs_by_outputs, [(Kind::FeedForward, 64, "h.0.mlp.c_fc.weight/1 h.0.mlp.c_proj.weight/0".into())]);
    assert_eq!(outputs_by_inputs, [(Kind::FeedForward, 64, "h.0.mlp.c_fc.weight/0 h.0.mlp.c_proj.weight/1".into())]);
}

#[test]
fn another_tower_s_embedding_says_nothing_of_a_feed_forward_block() {
    let list: [(&str, &[usize]); 3] = [
        ("text.embed_tokens.weight", &[50, 48]),
        ("vision.layers.0.mlp.down_proj.weight", &[16, 48]),
        ("vision.layers.0.mlp.up_proj.weight", &[48, 16]),
    ];
    let model = Model::named(&named(&list), None);
    let wanted = "vision.layers.0.mlp.down_proj.weight/1 vision.layers.0.mlp.up_proj.weight/0";
    assert_eq!(members(&model), [(Kind::FeedForward, 48, wanted.into())]);
}
