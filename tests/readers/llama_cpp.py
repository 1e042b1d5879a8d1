"""llama.cpp itself, through the C functions that the xllamacpp wheel exports: files judged, blocks decoded, networks run.

Only `requirements.txt`'s version of the wheel is meant: structures are passed as opaque bytes, and the fields that are set are
known by their places and checked by their default values.
"""

from __future__ import annotations

import ctypes as c
import os
from pathlib import Path

import numpy as np
import xllamacpp

LIBRARY = c.CDLL(os.path.join(xllamacpp.__path__[0], "xllamacpp.abi3.so"))


class Parameters(c.Structure):
    """Parameters of a model or context: larger than they are, passed by value where nothing follows them."""

    _fields_ = [("bytes", c.c_uint8 * 1024)]


class Batch(c.Structure):
    _fields_ = [
        ("count", c.c_int32),
        ("token", c.POINTER(c.c_int32)),
        ("embedding", c.c_void_p),
        ("position", c.POINTER(c.c_int32)),
        ("sequences", c.POINTER(c.c_int32)),
        ("sequence", c.POINTER(c.POINTER(c.c_int32))),
        ("wanted", c.POINTER(c.c_int8)),
    ]


class Judging(c.Structure):
    """`gguf_init_params`: no data is read, no tensors are made."""

    _fields_ = [("no_alloc", c.c_bool), ("context", c.c_void_p)]


LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
_said: list[str] = []
_listen = LOG(lambda level, text, _: _said.append(text.decode(errors="replace")))


def _declare() -> None:
    pointer, number, text = c.c_void_p, c.c_int32, c.c_char_p
    for name, result, *arguments in (
        ("llama_log_set", None, LOG, pointer),
        ("llama_model_default_params", Parameters),
        ("llama_context_default_params", Parameters),
        ("llama_model_load_from_file", pointer, text, Parameters),
        ("llama_init_from_model", pointer, pointer, Parameters),
        ("llama_model_get_vocab", pointer, pointer),
        ("llama_vocab_n_tokens", number, pointer),
        ("llama_vocab_bos", number, pointer),
        ("llama_vocab_get_add_bos", c.c_bool, pointer),
        ("llama_tokenize", number, pointer, text, number, c.POINTER(number), number, c.c_bool, c.c_bool),
        ("llama_set_n_threads", None, pointer, number, number),
        ("llama_batch_init", Batch, number, number, number),
        ("llama_batch_free", None, Batch),
        ("llama_decode", number, pointer, Batch),
        ("llama_get_logits", c.POINTER(c.c_float), pointer),
        ("llama_get_memory", pointer, pointer),
        ("llama_memory_clear", None, pointer, c.c_bool),
        ("llama_free", None, pointer),
        ("llama_model_free", None, pointer),
        ("gguf_init_from_file", pointer, text, Judging),
        ("gguf_free", None, pointer),
        ("gguf_get_n_tensors", c.c_int64, pointer),
        ("ggml_quantize_chunk", c.c_size_t, number, pointer, pointer, c.c_int64, c.c_int64, c.c_int64, pointer),
    ):
        function = getattr(LIBRARY, name)
        function.restype, function.argtypes = result, arguments
    LIBRARY.llama_log_set(_listen, None)


_declare()


class Refused(Exception):
    """llama.cpp does not load the file; the text is the end of what it said."""


def accepts(path: Path) -> bool:
    """Whether `gguf_init_from_file` takes the header of a file."""
    context = LIBRARY.gguf_init_from_file(os.fsencode(path), Judging(True, None))
    if context:
        LIBRARY.gguf_free(context)
    return bool(context)


def encode(kind: int, values: np.ndarray, block_bytes: int, block: int) -> np.ndarray:
    """The blocks of `ggml_quantize_chunk`, without an importance matrix."""
    values = np.ascontiguousarray(values, "f4")
    out = np.zeros(values.size // block * block_bytes, "u1")
    rows, columns = values.size // values.shape[-1], values.shape[-1]
    written = LIBRARY.ggml_quantize_chunk(kind, values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    assert written == out.size, (written, out.size)
    return out


class Network:
    """A model file, loaded to be run with nothing rounded that need not be."""

    def __init__(self, path: Path, tokens: int = 256):
        _said.clear()
        self.model = LIBRARY.llama_model_load_from_file(os.fsencode(path), LIBRARY.llama_model_default_params())
        if not self.model:
            raise Refused(" ".join("".join(_said).split())[-300:])
        parameters = LIBRARY.llama_context_default_params()
        words = np.frombuffer(parameters.bytes, "i4").copy()
        # n_ctx; flash_attn_type, which rounds to F16 unless it is off; type_k and type_v, which are F16 unless they are F32.
        assert (words[0], words[13], *words[26:28]) == (512, -1, 1, 1), "the structure of this version"
        words[:3], words[13], words[26:28] = max(tokens, 512), 0, 0
        parameters = Parameters.from_buffer_copy(words.tobytes())
        self.context = LIBRARY.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise Refused(" ".join("".join(_said).split())[-300:])
        LIBRARY.llama_set_n_threads(self.context, 2, 2)
        self.vocabulary = LIBRARY.llama_model_get_vocab(self.model)
        self.tokens = LIBRARY.llama_vocab_n_tokens(self.vocabulary)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_) -> None:
        LIBRARY.llama_free(self.context)
        LIBRARY.llama_model_free(self.model)

    def tokenize(self, text: str, special: bool = False) -> list[int]:
        """Ids of a text; with `special`, those that are put around it come with it, and their names in it are found."""
        raw, out = text.encode(), (c.c_int32 * (len(text.encode()) + 8))()
        count = LIBRARY.llama_tokenize(self.vocabulary, raw, len(raw), out, len(out), special, special)
        return list(out[:count])

    def log_probabilities(self, ids: list[int]) -> np.ndarray:
        """One row for each position, in f64."""
        batch = LIBRARY.llama_batch_init(len(ids), 0, 1)
        batch.count = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.position[i], batch.sequences[i], batch.wanted[i] = token, i, 1, 1
            batch.sequence[i][0] = 0
        LIBRARY.llama_memory_clear(LIBRARY.llama_get_memory(self.context), True)
        code = LIBRARY.llama_decode(self.context, batch)
        LIBRARY.llama_batch_free(batch)
        assert code == 0, code
        logits = np.ctypeslib.as_array(LIBRARY.llama_get_logits(self.context), (len(ids), self.tokens))
        logits = logits.astype("f8")
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))
