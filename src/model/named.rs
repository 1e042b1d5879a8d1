//! Models of names and shapes alone, for tests of what those tell.

use super::open::assemble;
use super::{Config, Format, Graph, Model, Origin};
use crate::formats::{Dtype, Entry, Source, Table};

impl Model {
    /// A model of F32 tensors that has no bytes, with the text of a config beside it where one is given.
    pub(crate) fn named<S: AsRef<str>>(tensors: &[(S, &[usize])], config: Option<&str>) -> Self {
        let entry = |(name, shape): &(S, &[usize])| Entry {
            name: name.as_ref().to_owned(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            range: 0..4 * shape.iter().product::<usize>() as u64,
            packed: None,
            block_type: None,
        };
        let table = Table { tensors: tensors.iter().map(entry).collect(), ..Table::default() };
        let shard = (Source::embedded("named", &[]), table);
        let origin = Origin::Demo("named");
        let model = assemble("named".into(), origin, Format::Safetensors, vec![shard], 0, Vec::new()).unwrap();
        let config = config.map(|text| Config::parse(text.as_bytes()).unwrap());
        let graph = Graph::of(&model.tensors, config.as_ref());
        model.graph.set((graph, config, None)).unwrap();
        model
    }
}
