"""The language of schemes, and which tensors a pattern touches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from arrays import FLOATS


@dataclass(frozen=True)
class Scheme:
    """One parsed scheme: an optional prune step, an optional quantize step."""

    text: str = "keep"
    fraction: Fraction | None = None
    pool: str = "tensor"  # tensor, row or global; nm, block, random or mask, with `how`
    how: tuple = ()  # (N, M); (H, W); (seed,); (path,)
    bits: int = 0  # 2..8 for the integer grids
    unit: str = "row"  # row, tensor, g32, g64 or g128
    asym: bool = False
    range: str = "max"  # max, mse, or p and a percentile
    cast: str | None = None  # F16, BF16, F8_E4M3 or F8_E5M2
    form: str = ""  # levels that are no integer grid: fp8_e4m3, fp8_e5m2, mxfp4, nvfp4, nf4, ternary, binary, codebook
    k: int = 0  # centroids
    best: bool = False  # the optimum instead of Lloyd's

    @property
    def prunes(self) -> bool:
        return self.fraction is not None or self.pool in ("nm", "mask")

    @property
    def keeps(self) -> bool:
        return not self.prunes and not self.quantizes

    @property
    def quantizes(self) -> bool:
        return bool(self.bits or self.cast or self.form)


FORMS = {
    r"(fp8_e4m3|fp8_e5m2)(:row)": "row",
    r"(mxfp4)()": "g32",
    r"(nvfp4)()": "g16",
    r"(nf4)(:g32|:g64|:g128)?": "g64",
    r"(ternary|binary)(:row)?": "tensor",
}


def parse(text: str) -> Scheme:
    """Reads SCHEME; raises ValueError on what the grammar excludes."""
    if text == "keep":
        return Scheme()
    parts: dict = {}
    for step in text.split("+"):
        if match := re.fullmatch(r"prune:(\d+(?:\.\d+)?)(:row|:global)?", step):
            if parts or Fraction(match[1]) > 1:
                raise ValueError(text)
            parts |= {"fraction": Fraction(match[1]), "pool": (match[2] or ":tensor")[1:]}
        elif match := re.fullmatch(r"nm:(\d+):(\d+)", step):
            if parts or not 1 <= int(match[1]) <= int(match[2]) <= 64:
                raise ValueError(text)
            parts |= {"pool": "nm", "how": (int(match[1]), int(match[2]))}
        elif match := re.fullmatch(r"block:(\d+)x(\d+):(\d+(?:\.\d+)?)", step):
            how = (int(match[1]), int(match[2]))
            if parts or Fraction(match[3]) > 1 or min(how) < 1:
                raise ValueError(text)
            parts |= {"fraction": Fraction(match[3]), "pool": "block", "how": how}
        elif match := re.fullmatch(r"random:(\d+(?:\.\d+)?):(\d+)", step):
            if parts or Fraction(match[1]) > 1 or int(match[2]) >= 2**64:
                raise ValueError(text)
            parts |= {"fraction": Fraction(match[1]), "pool": "random", "how": (int(match[2]),)}
        elif match := re.fullmatch(r"(rows|cols|heads|ffn):(\d+(?:\.\d+)?)", step):
            if parts or Fraction(match[2]) > 1:  # what they take out is worked out in structured.py
                raise ValueError(text)
            parts |= {"pool": match[1], "how": (Fraction(match[2]),)}
        elif step.startswith("mask:") and step != "mask:" and not parts:
            parts |= {"pool": "mask", "how": (step[5:],)}
        elif match := re.fullmatch(
            r"int([2-8])(:row|:tensor|:g32|:g64|:g128)?(:asym)?(:max|:mse|:p\d+(?:\.\d+)?)?(:a8)?", step
        ):
            span = (match[4] or ":max")[1:]
            percentile = Fraction(span[1:]) if span[0] == "p" else 1
            if {"bits", "cast", "form"} & set(parts) or not 0 < percentile <= 100 or (match[3] and span[0] == "p"):
                raise ValueError(text)
            if match[5] and (match[1] != "8" or match[2] not in (None, ":row") or match[3]):
                raise ValueError(text)
            parts |= {"bits": int(match[1]), "unit": (match[2] or ":row")[1:], "asym": bool(match[3]), "range": span}
        elif {"bits", "cast", "form"} & set(parts):
            raise ValueError(text)
        elif step in ("f16", "bf16"):
            parts["cast"] = step.upper()
        elif step in ("fp8_e4m3", "fp8_e5m2"):
            parts["cast"] = step.upper().replace("FP8", "F8")
        elif match := re.fullmatch(r"codebook:(\d+)(:row)?(:best)?", step):
            if not 2 <= int(match[1]) <= 256:
                raise ValueError(text)
            parts |= {"form": "codebook", "k": int(match[1]), "best": bool(match[3])}
            parts["unit"] = (match[2] or ":tensor")[1:]
        else:
            found = [(re.fullmatch(form, step), unit) for form, unit in FORMS.items()]
            found = [(match, unit) for match, unit in found if match]
            if not found:
                raise ValueError(text)
            match, unit = found[0]
            parts |= {"form": match[1], "unit": match[2][1:] if match[2] else unit}
    return Scheme(text, **parts)


def glob_to_regex(pattern: str) -> str:
    """A glob over the whole name in which `*` crosses dots."""
    out, depth, i = "", 0, 0
    while i < len(pattern):
        c = pattern[i]
        if c == "*":
            out += ".*"
        elif c == "?":
            out += "."
        elif c == "[":
            end = pattern.index("]", i + 2)
            body = pattern[i + 1 : end]
            out += "[^" + body[1:] + "]" if body[0] == "!" else "[" + body + "]"
            i = end
        elif c == "{":
            out, depth = out + "(?:", depth + 1
        elif c == "}":
            out, depth = out + ")", depth - 1
        else:
            out += "|" if c == "," and depth else re.escape(c)
        i += 1
    return out


def is_exact(pattern: str) -> bool:
    return not pattern.startswith("re:") and not any(c in pattern for c in "*?[{")


def touches(pattern: str, name: str, dtype: str, is_weight: bool) -> bool:
    """Whether a line reaches a tensor: a glob reaches weight matrices only, an exact name any float tensor."""
    if is_exact(pattern):
        return pattern == name and dtype in FLOATS
    regex = pattern[3:] if pattern.startswith("re:") else glob_to_regex(pattern)
    return is_weight and re.fullmatch(regex, name, re.S) is not None
