"""Folders of weights that lie in several tensors, as compressed-tensors and MLX lay them out, and the same a little off.

What is expected is the type that every tensor is shown with, in order of name: a weight that was put together, or, where one layer
lies in a way that is not read, all tensors as they are in the file.
"""

from __future__ import annotations

import json
import struct

BITS = {"F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "U8": 8, "I8": 8, "I32": 32, "U32": 32, "I64": 64}
Q = "model.layers.0.self_attn.q_proj"


def weights(**tensors) -> bytes:
    """A safetensors file; every tensor is its dtype and shape, and its bytes where they matter."""
    header, data = {}, b""
    for name, (dtype, shape, *content) in tensors.items():
        bits = BITS[dtype]
        for d in shape:
            bits *= d
        # 0x22 is a legal code of every kind, and a harmless part of a number.
        content = content[0] if content else b"\x22" * (bits // 8)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def module(**parts) -> bytes:
    return weights(**{f"{Q}.{part}": tensor for part, tensor in parts.items()})


def shape(rows: int, cols: int):
    return ("I64", [2], struct.pack("<qq", rows, cols))


def compressed(bits: int, kind: str = "int", **said) -> dict:
    """The config of compressed-tensors with one group of all linear layers."""
    group = {"targets": ["Linear"], "weights": {"num_bits": bits, "type": kind, "symmetric": True, **said}}
    block = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}
    return {"model_type": "llama", "quantization_config": block}


COMPRESSED = compressed(4)


def mlx(**block) -> dict:
    return {"model_type": "llama", "quantization": block}


def folders() -> list[tuple[str, dict[str, bytes], str]]:
    """Name, files, the types that are shown."""
    int4 = dict(weight_packed=("I32", [8, 8]), weight_scale=("BF16", [8, 2]), weight_shape=shape(8, 64))
    affine = dict(weight=("U32", [8, 8]), scales=("F16", [8, 1]), biases=("F16", [8, 1]))
    loose = {"weight_packed": "I32", "weight_scale": "BF16", "weight_shape": "I64"}
    as_they_are = ", ".join(loose.values())
    cases = [
        ("int4_groups", COMPRESSED, int4, "int4:g32"),
        ("int4_rows", COMPRESSED, int4 | {"weight_scale": ("F32", [8, 1])}, "int4:row"),
        ("int3", compressed(3), int4 | {"weight_packed": ("I32", [8, 6])}, "int3:g32"),
        ("int8_bytes", compressed(8), dict(weight=("I8", [8, 64]), weight_scale=("BF16", [8, 1])), "int8:row"),
        ("fp8_rows", compressed(8, "float"), dict(weight=("F8_E4M3", [8, 64]), weight_scale=("BF16", [8, 1])), "fp8_e4m3:row"),
        ("fp8_tensor", compressed(8, "float"), dict(weight=("F8_E4M3", [8, 64]), weight_scale=("BF16", [1])), "fp8_e4m3:tensor"),
        ("mxfp4", compressed(4, "float"), dict(weight_packed=("U8", [8, 32]), weight_scale=("U8", [8, 2])), "mxfp4"),
        ("nvfp4", compressed(4, "float"), dict(weight_packed=("U8", [8, 32]), weight_scale=("F8_E4M3", [8, 4]), weight_global_scale=("F32", [1])), "nvfp4"),
        ("mlx4", mlx(bits=4, group_size=64), affine, "int4:g64 affine"),
        ("mlx_own", mlx(bits=8, group_size=32, **{Q: {"bits": 4, "group_size": 64}}), affine, "int4:g64 affine"),
        # What is off in one layer leaves all as they are.
        ("zero_points", COMPRESSED, int4 | {"weight_zero_point": ("I32", [1, 2])}, "I32, BF16, I64, I32"),
        ("group_order", COMPRESSED, int4 | {"weight_g_idx": ("I32", [64])}, "I32, I32, BF16, I64"),
        ("shape_of_others", COMPRESSED, int4 | {"weight_shape": shape(9, 64)}, as_they_are),
        ("shape_below_zero", COMPRESSED, int4 | {"weight_shape": shape(8, -64)}, as_they_are),
        ("shape_without_end", COMPRESSED, int4 | {"weight_shape": shape(8, 2**62)}, as_they_are),
        ("shape_of_three", COMPRESSED, int4 | {"weight_shape": ("I64", [3])}, as_they_are),
        ("no_shape", COMPRESSED, dict(weight_packed=int4["weight_packed"], weight_scale=int4["weight_scale"]), "I32, BF16"),
        ("no_scales", COMPRESSED, dict(weight_packed=int4["weight_packed"], weight_shape=int4["weight_shape"]), "I32, I64"),
        ("uneven_groups", COMPRESSED, int4 | {"weight_scale": ("BF16", [8, 3])}, as_they_are),
        ("scales_of_others", COMPRESSED, int4 | {"weight_scale": ("BF16", [9, 2])}, as_they_are),
        ("scales_that_are_whole", COMPRESSED, int4 | {"weight_scale": ("I32", [8, 2])}, "I32, I32, I64"),
        ("no_rows", COMPRESSED, dict(weight_packed=("I32", [0, 8]), weight_scale=("BF16", [0, 2]), weight_shape=shape(0, 64)), as_they_are),
        ("flat", COMPRESSED, int4 | {"weight_packed": ("I32", [64])}, as_they_are),
        ("no_global", compressed(4, "float"), dict(weight_packed=("U8", [8, 32]), weight_scale=("F8_E4M3", [8, 4])), "U8, F8_E4M3"),
        ("named_twice", COMPRESSED, int4 | {"weight": ("BF16", [8, 64])}, "BF16, I32, BF16, I64"),
        ("no_groups", {"quantization_config": {"quant_method": "compressed-tensors"}}, int4, as_they_are),
        ("of_no_group", compressed(4) | {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {
            name: {"targets": [name], "weights": {"num_bits": 4}} for name in ("lm_head", "re:.*mlp.*")}}}, int4, as_they_are),
        ("bits_of_before", compressed(7), int4 | {"weight_packed": ("I32", [8, 16])}, as_they_are),
        ("bits_of_others", compressed(8), int4, as_they_are),
        ("groups_of_others", compressed(4, strategy="group", group_size=64), int4, as_they_are),
        ("not_symmetric", compressed(4, symmetric=False), int4, as_they_are),
        ("mlx_other_mode", mlx(bits=4, group_size=32, mode="mxfp4"), affine, "F16, F16, U32"),
        ("mlx_seven_bits", mlx(bits=7, group_size=64), affine, "F16, F16, U32"),
        ("mlx_group_of_0", mlx(bits=4, group_size=0), affine, "F16, F16, U32"),
        ("mlx_half_a_number", mlx(bits=4.5, group_size=64), affine, "F16, F16, U32"),
        ("mlx_no_numbers", mlx(), affine, "F16, F16, U32"),
        ("mlx_off", mlx(bits=4, group_size=64, **{Q: False}), affine, "int4:g64 affine"),
        ("mlx_no_biases", mlx(bits=4, group_size=64), dict(weight=affine["weight"], scales=affine["scales"]), "F16, U32"),
        ("mlx_too_wide", mlx(bits=4, group_size=64), affine | {"scales": ("F16", [8, 2])}, "F16, F16, U32"),
        ("method_is_a_number", {"quantization_config": {"quant_method": 4}}, int4, as_they_are),
        ("config_is_a_list", [1, 2], int4, as_they_are),
        ("config_is_deep", "[" * 100_000, int4, as_they_are),
    ]
    stacked = dict(weight=("U32", [3, 8, 8]), scales=("F16", [3, 8, 1]), biases=("F16", [3, 8, 1]))
    blocks = dict(weight=("F8_E4M3", [5, 70]), weight_scale_inv=("BF16", [3, 3]))
    fp8 = lambda size: {"quantization_config": {"quant_method": "fp8", "weight_block_size": size}}
    of_blocks = lambda block: compressed(8, "float", strategy="block", block_structure=block)
    theirs = dict(weight=blocks["weight"], weight_scale=("F32", [3, 3]))
    apart = "F8_E4M3, BF16"
    cases += [
        ("mlx_experts", mlx(bits=4, group_size=64), stacked, "int4:g64 affine"),
        ("mlx_experts_of_others", mlx(bits=4, group_size=64), stacked | {"scales": ("F16", [2, 8, 1])}, "F16, F16, U32"),
        ("mlx_experts_too_narrow", mlx(bits=4, group_size=64), stacked | {"weight": ("U32", [3, 8, 7])}, "F16, F16, U32"),
        ("mlx_experts_in_four", mlx(bits=4, group_size=64), {name: (dtype, [1, *shape]) for name, (dtype, shape) in stacked.items()}, "F16, F16, U32"),
        ("fp8_blocks", fp8([2, 32]), blocks, "fp8_e4m3:2x32"),
        ("fp8_one_block", fp8([2**40, 2**63]), blocks | {"weight_scale_inv": ("F32", [1, 1])}, "fp8_e4m3:1099511627776x9223372036854775808"),
        ("fp8_blocks_too_few", fp8([2, 32]), blocks | {"weight_scale_inv": ("BF16", [2, 3])}, apart),
        ("fp8_blocks_turned", fp8([32, 2]), blocks, apart),
        ("fp8_blocks_of_0", fp8([0, 32]), blocks, apart),
        ("fp8_blocks_below_0", fp8([-2, 32]), blocks, apart),
        ("fp8_blocks_of_three", fp8([2, 32, 1]), blocks, apart),
        ("fp8_no_blocks", fp8(None), blocks, apart),
        ("fp8_scales_of_codes", fp8([2, 32]), blocks | {"weight_scale_inv": ("F8_E4M3", [3, 3])}, "F8_E4M3, F8_E4M3"),
        ("fp8_flat", fp8([2, 32]), blocks | {"weight": ("F8_E4M3", [350])}, apart),
        ("fp8_of_bytes", fp8([2, 32]), blocks | {"weight": ("I8", [5, 70])}, "I8, BF16"),
        ("fp8_empty", fp8([2, 32]), dict(weight=("F8_E4M3", [0, 70]), weight_scale_inv=("BF16", [0, 3])), apart),
        ("block_structure", of_blocks([2, 32]), theirs, "fp8_e4m3:2x32"),
        ("block_structure_too_few", of_blocks([2, 64]), theirs, "F8_E4M3, F32"),
        ("block_structure_is_text", of_blocks("2x32"), theirs, "F8_E4M3, F32"),
        ("block_of_integers", compressed(8, strategy="block", block_structure=[2, 32]), theirs, "F8_E4M3, F32"),
        ("block_without_structure", compressed(8, "float", strategy="block"), theirs | {"weight_scale": ("F32", [5, 1])}, "F8_E4M3, F32"),
    ]
    ours = lambda method, **said: {"quantization_config": {"quant_method": method, "bits": 4, "group_size": 32, **said}}
    order = struct.pack("<64i", *[i // 32 for i in range(64)])
    gptq = dict(qweight=("I32", [8, 16]), scales=("F16", [2, 16]), qzeros=("I32", [2, 2]), g_idx=("I32", [64], order))
    awq = dict(qweight=("I32", [64, 2]), scales=("F16", [2, 16]), qzeros=("I32", [2, 2]))
    one = gptq | {"scales": ("F16", [1, 16]), "qzeros": ("I32", [1, 2]), "g_idx": ("I32", [64], bytes(256))}
    turned, apart = "I32, I32, I32, F16", "I32, I32, F16"
    past = lambda number: gptq | {"g_idx": ("I32", [64], order[:-4] + struct.pack("<i", number))}
    cases += [
        ("gptq", ours("gptq"), gptq, "int4:g32 GPTQ"),
        ("gptq_v2", ours("gptq", checkpoint_format="gptq_v2"), gptq, "int4:g32 GPTQ"),
        ("gptq_one_group", ours("gptq", group_size=-1), one, "int4:g64 GPTQ"),
        ("gptq_marlin", ours("gptq", checkpoint_format="marlin"), gptq, turned),
        ("gptq_three_bits", ours("gptq", bits=3), gptq, turned),
        ("gptq_bits_of_others", ours("gptq", bits=8), gptq, turned),
        ("gptq_group_of_0", ours("gptq", group_size=0), gptq, turned),
        ("gptq_group_of_others", ours("gptq", group_size=64), gptq, turned),
        ("gptq_order_past", ours("gptq"), past(2), turned),
        ("gptq_order_below_0", ours("gptq"), past(-1), turned),
        ("gptq_order_short", ours("gptq"), gptq | {"g_idx": ("I32", [32], order[:128])}, turned),
        ("gptq_no_order", ours("gptq"), awq | {"qweight": gptq["qweight"]}, apart),
        ("awq", ours("awq"), awq, "int4:g32 AWQ"),
        ("awq_old_keys", {"quantization_config": {"quant_method": "awq", "w_bit": 4, "q_group_size": 32, "version": "GEMM"}}, awq, "int4:g32 AWQ"),
        ("awq_gemv", ours("awq", version="gemv"), awq, apart),
        ("awq_eight_bits", ours("awq", bits=8), awq, apart),
        ("awq_of_half_words", ours("awq"), dict(qweight=("I32", [64, 2]), scales=("F16", [2, 12]), qzeros=("I32", [2, 2])), apart),
        ("awq_no_zeros", ours("awq"), dict(qweight=awq["qweight"], scales=awq["scales"]), "I32, F16"),
        # GPTQModel's layers of their own, of which some other may be the one that is here.
        ("gptq_layers_of_their_own", ours("gptq", bits=8, group_size=64, dynamic={"+:x": {"bits": 4}}), gptq, "int4:g32 GPTQ"),
        ("gptq_no_layers_of_their_own", ours("gptq", bits=8, dynamic={}), gptq, turned),
        ("gptq_no_method", {"quantization_config": {"bits": 4, "group_size": 32}}, gptq, turned),
    ]
    cases += [
        ("old_key", {"compression_config": COMPRESSED["quantization_config"]}, int4, "int4:g32"),
        ("preset_by_name", {"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"W8A16": ["Linear"]}}},
            dict(weight_packed=("I32", [8, 32]), weight_scale=("BF16", [8, 1]), weight_shape=shape(8, 128)), "int8:row"),
    ]
    bare = {"model_type": "llama"}
    said = {"bits": 4, "group_size": 32, "desc_act": True}
    beside = [
        ("gptq_beside", bare, "quantize_config.json", said, gptq, "int4:g32 GPTQ"),
        ("gptq_beside_broken", bare, "quantize_config.json", "[1]", gptq, turned),
        ("gptq_beside_not_asked", ours("gptq", bits=8), "quantize_config.json", said, gptq, turned),
        ("awq_beside", bare, "quant_config.json", {"w_bit": 4, "q_group_size": 32, "zero_point": True, "version": "GEMM"}, awq, "int4:g32 AWQ"),
    ]
    text = lambda config: config if isinstance(config, str) else json.dumps(config, indent=1)
    files = lambda config, parts: {"config.json": text(config).encode(), "model.safetensors": module(**parts)}
    return [(name, files(config, parts), f"ok: {types};") for name, config, parts, types in cases] + [
        (name, files(config, parts) | {file: text(more).encode()}, f"ok: {types};") for name, config, file, more, parts, types in beside
    ]
