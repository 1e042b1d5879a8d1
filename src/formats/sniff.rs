//! The first bytes of a file tell what it is, and for every stranger there is a road that works.

use super::error::quoted;
use std::borrow::Cow;

/// What a file turns out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Looks like safetensors, or at least like nothing else.
    Safetensors,
    /// Spokeshave's own container.
    Packed,
    /// llama.cpp's container.
    Gguf,
    /// A graph of ONNX.
    Onnx,
    /// One array of NumPy.
    Npy,
    /// A zip archive, whose members tell what it is.
    Zip,
    /// A pickle of Python, as PyTorch's files are that are no archives.
    Pickle,
    /// It begins like none of these. It may still bear a name that says what it should have been.
    Unknown,
    /// Something else that people try to open, with its name and what to do.
    Stranger {
        /// "this is a …"
        found: Cow<'static, str>,
        /// The next step.
        advice: &'static str,
    },
}

/// Bytes that are enough to judge a file by.
pub const HEAD: u64 = 512;

/// The next step where weights were expected and an archive came.
const UNPACK: &str = "unpack it first and open what is inside";

/// Files that begin with fixed bytes: these, what such a file is, and what to do.
const MAGICS: &[(&[u8], &str, &str)] = &[
    (b"lmgg", "this is an old GGML file", OLD_GGML),
    (b"fmgg", "this is an old GGML file", OLD_GGML),
    (b"tjgg", "this is an old GGML file", OLD_GGML),
    (b"PK\x05\x06", "this is an empty zip archive", "download it again, or save the weights as safetensors"),
    (b"version https://git-lfs", "this is a Git LFS pointer, not the file itself", "run `git lfs pull` in its folder"),
    (b"\x28\xb5\x2f\xfd", "this is a file compressed with zstd", UNPACK),
    (b"\xfd7zXZ\0", "this is a file compressed with xz", UNPACK),
    (b"BZh", "this is a file compressed with bzip2", UNPACK),
    (b"\x04\x22\x4d\x18", "this is a file compressed with lz4", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "this is a 7z archive", UNPACK),
    (b"\x1f\x8b", "this is a gzip file", "unpack it with `gunzip` first"),
    (b"\x89HDF\r\n\x1a\n", "this is an HDF5 file (Keras weights)", "convert the weights to safetensors and open that"),
    (b"\x7fELF", "this is a program, not a weight file", "give the file of the weights or its folder"),
    (b"\x89PNG\r\n\x1a\n", "this is a picture (PNG), not a weight file", "give the file of the weights or its folder"),
];

const OLD_GGML: &str = "it is not read; open the safetensors it was made from";

/// Judges a file by its first bytes ([`HEAD`] are enough).
#[must_use]
pub fn sniff(head: &[u8]) -> Kind {
    let stranger = |found, advice| Kind::Stranger { found: Cow::Borrowed(found), advice };
    if head.starts_with(&super::packed_layout::MAGIC) {
        return Kind::Packed;
    }
    // A safetensors header of this length, and none is that long, would have a brace at its ninth byte.
    if head.starts_with(&super::gguf::MAGIC) && !looks_like_header(head) {
        return Kind::Gguf;
    }
    if looks_like_header(head) {
        return Kind::Safetensors;
    }
    if head.starts_with(super::npy::MAGIC) {
        return Kind::Npy;
    }
    if head.starts_with(super::zip::MAGIC) {
        return Kind::Zip;
    }
    if let Some((_, found, advice)) = MAGICS.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return stranger(found, advice);
    }
    if matches!(head, [0x80, 2..=5, ..]) {
        return Kind::Pickle;
    }
    if head.get(4..8) == Some(b"TFL3") {
        return stranger("this is a TensorFlow Lite model", "convert its weights to safetensors and open that");
    }
    if head.get(257..262) == Some(b"ustar") {
        return stranger("this is a tar archive", UNPACK);
    }
    if super::onnx::looks_like(head) {
        return Kind::Onnx;
    }
    // No header is longer than what the first four bytes of its length can say.
    let may_be = matches!(head, [_, _, _, _, 0, 0, 0, 0, ..]);
    text(head).unwrap_or(if may_be { Kind::Safetensors } else { Kind::Unknown })
}

/// Whether eight bytes that can be a header's length stand before what can be its beginning. Short magics are legal
/// lengths, and a damaged file should be told its damage, not be taken for something else.
fn looks_like_header(head: &[u8]) -> bool {
    matches!(head, [_, _, _, _, 0, 0, 0, 0, b'{' | b' ' | b'\t' | b'\n' | b'\r', ..])
}

/// What a text is; `None` when these bytes are none.
fn text(head: &[u8]) -> Option<Kind> {
    // The eight bytes of a length hold zeros, which no text does.
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The head may end inside a character.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(head.get(..e.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    let text = text.trim_start();
    if text.is_empty() || text.contains(|c: char| c.is_control() && !c.is_whitespace()) {
        return None;
    }
    let stranger = |found, advice| Some(Kind::Stranger { found: Cow::Borrowed(found), advice });
    let lower = text.to_ascii_lowercase();
    let web = "the download was answered with a web page; log in or check the address";
    if ["<!doctype", "<html", "<!--", "<head", "<body"].iter().any(|tag| lower.starts_with(tag)) {
        return stranger("this is an HTML page", web);
    }
    if lower.starts_with("<?xml") || lower.starts_with("<error") {
        return stranger("this is an XML text, as a server's error message is", web);
    }
    if text.starts_with('{') && text.contains("\"weight_map\"") {
        return stranger("this is the JSON index of a folder's shards", "give the folder instead");
    }
    let of_recipe = |line: &str| {
        let line = line.trim();
        line.starts_with("[[rule]]") || line.starts_with("[[override]]") || line.replace(' ', "") == "version=1"
    };
    if text.lines().any(of_recipe) {
        return stranger("this looks like a recipe", "give it with --recipe, and a model before it");
    }
    // `[package]` begins a TOML text.
    let list = text.strip_prefix('[').map(str::trim_start);
    let items = ['{', '[', ']', '"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
    if text.starts_with('{') || list.is_some_and(|list| list.is_empty() || list.starts_with(items)) {
        return stranger("this is a JSON text, not a weight file", "give the file of the weights or its folder");
    }
    let begins: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
    let found = format!("this is a text file that begins {}", quoted(begins.trim_end()));
    Some(Kind::Stranger { found: Cow::Owned(found), advice: "give the file of the weights or its folder" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named() {
        let mut tar = vec![b'm'; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, word) in [
            (&b"PK\x05\x06\0\0"[..], "zip"),
            (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
            (b"\n <!DOCTYPE html>", "HTML"),
            (b"\xef\xbb\xbf<HTML><head>", "HTML"),
            (b"<?xml version='1.0'?><Error>", "XML"),
            (b"{\"weight_map\": {", "index"),
            (b"{\n  \"a\": 1", "JSON"),
            (b"[1]", "JSON"),
            (b"[ {", "JSON"),
            (b"[package]\nname", "begins \"[package]\""),
            (b"[[rule]]\nmatch", "recipe"),
            (b"lmgg\0\0\0\0", "GGML"),
            (b"\x1c\0\0\0TFL3\0", "TensorFlow Lite"),
            (b"\x28\xb5\x2f\xfd\0", "zstd"),
            (b"# mine\nversion = 1\n", "recipe"),
            (b"Please log in\nfirst", "begins \"Please log in\""),
            ("Войдите".as_bytes(), "begins \"Войдите\""),
            (&"Войдите".as_bytes()[..13], "begins \"Войдит\""),
            (&tar, "tar"),
        ] {
            match sniff(head) {
                Kind::Stranger { found, .. } => assert!(found.contains(word), "{found}"),
                kind => panic!("{word} taken for {kind:?}"),
            }
        }
        assert_eq!(sniff(b"\x10\0\0\0\0\0\0\0{\"a\":"), Kind::Safetensors);
        assert_eq!(sniff(b"\x80\x02\0\0\0\0\0\0{\"a\":"), Kind::Safetensors);
        assert_eq!(sniff(b"PK\x03\x04\0\0"), Kind::Zip);
        assert_eq!(sniff(b"\x80\x02}q\x00"), Kind::Pickle);
        assert_eq!(sniff(b"PK\x03\x04\0\0\0\0{"), Kind::Safetensors);
        assert_eq!(sniff(b"GGUF\x03\0\0\0"), Kind::Gguf);
        assert_eq!(sniff(b"\x93NUMPY\x01\0"), Kind::Npy);
        assert_eq!(sniff(b"PK\x03\x04\0\0"), Kind::Zip);
        // Its producer follows the version, or its graph, or the operators it needs; a length may go past the head.
        for onnx in [
            &b"\x08\x07\x12\x07pytorch"[..],
            b"\x08\x0a\x3a\x90\xce\x6d",
            b"\x08\x08\x42\x02\x10\x11\x3a\x90\xce\x6d\x12",
        ] {
            assert_eq!(sniff(onnx), Kind::Onnx);
        }
        assert_eq!(sniff(b"\x10\0\0\0\0\0\0\0{\"a\":"), Kind::Safetensors);
        assert_eq!(sniff(b""), Kind::Unknown);
        assert_eq!(sniff(&[0xff; 64]), Kind::Unknown);
        assert_eq!(sniff(b"\x06\0\0\0\x0c\0WhisperSpec\0"), Kind::Unknown);
        assert_eq!(sniff(&[0x10, 0, 0, 0, 0, 0, 0, 0, 0xff]), Kind::Safetensors);
    }
}
