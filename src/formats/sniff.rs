//! The first bytes of a file tell what it is, and for every stranger there is a road that works.

/// What a file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Looks like safetensors, or at least like nothing else.
    Safetensors,
    /// Spokeshave's own container.
    Packed,
    /// Something else that people try to open, with its name and what to do.
    Stranger {
        /// "this is a …"
        found: &'static str,
        /// The next step.
        advice: &'static str,
    },
}

/// Judges a file by its first bytes (32 are enough).
#[must_use]
pub fn sniff(head: &[u8]) -> Kind {
    let stranger = |found, advice| Kind::Stranger { found, advice };
    let text = head.trim_ascii_start().to_ascii_lowercase();
    if head.starts_with(&super::packed_layout::MAGIC) {
        return Kind::Packed;
    }
    if head.starts_with(b"GGUF") {
        return stranger("this is a GGUF file", "reading GGUF is not built yet; open the safetensors it was made from");
    }
    if head.starts_with(b"PK\x03\x04") {
        return stranger(
            "this is a zip archive (a PyTorch .pt or .bin checkpoint, or .npz)",
            "it is not opened; save the weights with safetensors.torch.save_file and open that",
        );
    }
    if matches!(head, [0x80, 2..=5, ..]) {
        return stranger(
            "this is a Python pickle (an old PyTorch checkpoint)",
            "pickles can run code and are never opened; save the weights with safetensors.torch.save_file",
        );
    }
    if head.starts_with(b"version https://git-lfs") {
        return stranger("this is a Git LFS pointer, not the weights", "run `git lfs pull` in its folder");
    }
    if text.starts_with(b"<!doctype") || text.starts_with(b"<html") {
        return stranger(
            "this is an HTML page",
            "the download was answered with a web page; log in or check the address",
        );
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return stranger("this is a gzip file", "unpack it with `gunzip` first");
    }
    if head.starts_with(b"\x93NUMPY") {
        return stranger("this is a NumPy array (.npy)", "save it with safetensors.numpy.save_file and open that");
    }
    if head.starts_with(b"\x89HDF\r\n\x1a\n") {
        return stranger("this is an HDF5 file (Keras weights)", "convert the weights to safetensors and open that");
    }
    // An ONNX model is a protobuf that opens with field 1 (ir_version, a small varint) and then field 2 or 7.
    if matches!(head, [0x08, 1..=20, 0x12 | 0x3a, ..]) {
        return stranger(
            "this looks like an ONNX model",
            "reading ONNX is not built yet; export the weights to safetensors",
        );
    }
    if text.starts_with(b"{\"") || text.starts_with(b"{}") {
        return stranger("this is a JSON text, not a weight file", "give the .safetensors file or its folder");
    }
    Kind::Safetensors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named() {
        for (head, word) in [
            (&b"GGUF\x03\0\0\0"[..], "GGUF"),
            (b"PK\x03\x04\0\0", "zip"),
            (b"\x80\x02}q\x00", "pickle"),
            (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
            (b"\n <!DOCTYPE html>", "HTML"),
            (b"<HTML><head>", "HTML"),
            (b"\x08\x07\x12\x07pytorch", "ONNX"),
            (b"{\"weight_map\": {", "JSON"),
        ] {
            match sniff(head) {
                Kind::Stranger { found, .. } => assert!(found.contains(word), "{found}"),
                kind => panic!("{word} taken for {kind:?}"),
            }
        }
        assert_eq!(sniff(b"\x10\0\0\0\0\0\0\0{\"a\":"), Kind::Safetensors);
        assert_eq!(sniff(b""), Kind::Safetensors);
    }
}
