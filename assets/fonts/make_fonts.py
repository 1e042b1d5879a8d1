#!/usr/bin/env python3
"""Make the two fonts the window carries, from their published originals.

The window's toolkit has no switch for OpenType features, so tabular figures
cannot be asked for at run time. This script points the digits' character map
at the tabular glyphs instead, which makes every column of numbers line up and
keeps a value from jittering while a slider moves.

Sources (both SIL Open Font License 1.1, no Reserved Font Name declared):
  InterVariable.woff2        npm package inter-ui 4.1.1, variable/InterVariable.woff2
  JetBrainsMono-Regular.ttf  github.com/JetBrains/JetBrainsMono, tag v2.304, fonts/ttf/

Usage (fontTools and brotli are needed once, never at build time):
  pip install fonttools brotli
  python3 make_fonts.py InterVariable.woff2 JetBrainsMono-Regular.ttf
"""

import copy
import hashlib
import io
import os
import sys

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

INTER_SHA256 = "693b77d4f32ee9b8bfc995589b5fad5e99adf2832738661f5402f9978429a8e3"
MONO_SHA256 = "a0bf60ef0f83c5ed4d7a75d45838548b1f6873372dfac88f71804491898d138f"

# Weights in use run from 400 (text) to 600 (titles); 700 leaves room for emphasis.
WEIGHTS = (400, 400, 700)

# Only digits turn tabular: signs and spaces keep their own, tighter widths.
DIGITS = range(ord("0"), ord("9") + 1)

# Output bytes depend on this stamp (seconds since 1904) and on nothing else that varies.
STAMP = 3_800_000_000


def spans(*pairs):
    """Expand inclusive code point ranges into one list."""
    return [c for low, high in pairs for c in range(low, high + 1)]


# Latin-1, Latin Extended-A and a few letters beyond, so that file names show.
LATIN = spans((0x20, 0x7E), (0xA0, 0x17F), (0x192, 0x192), (0x218, 0x21B),
              (0x2C6, 0x2C7), (0x2D8, 0x2DD), (0x1E9E, 0x1E9E))
# Greek and Cyrillic: mathematics, and again file names.
GREEK_CYRILLIC = spans((0x384, 0x38A), (0x38C, 0x38C), (0x38E, 0x3A1), (0x3A3, 0x3CE),
                       (0x400, 0x45F), (0x490, 0x491))
SIGNS = spans((0x2002, 0x200A), (0x2010, 0x2015), (0x2018, 0x201E), (0x2020, 0x2022),
              (0x2026, 0x2026), (0x202F, 0x202F), (0x2030, 0x2030), (0x2032, 0x2033),
              (0x2039, 0x203A), (0x2044, 0x2044), (0x2070, 0x2071), (0x2074, 0x208E),
              (0x20AC, 0x20AC), (0x2116, 0x2116), (0x2122, 0x2122), (0x2190, 0x2199),
              (0x21E7, 0x21E7), (0x2202, 0x2202), (0x2206, 0x2206), (0x220F, 0x220F),
              (0x2211, 0x2212), (0x2215, 0x2215), (0x2219, 0x221A), (0x221E, 0x221E),
              (0x2248, 0x2248), (0x2260, 0x2260), (0x2264, 0x2265), (0x2318, 0x2318),
              (0x2325, 0x2325), (0x25A0, 0x25A1), (0x25B2, 0x25B2), (0x25B6, 0x25B6),
              (0x25BC, 0x25BC), (0x25C0, 0x25C0), (0x25C6, 0x25C7), (0x25CB, 0x25CB),
              (0x25CF, 0x25CF), (0x2713, 0x2713), (0x2717, 0x2717))


def open_checked(path, digest):
    """Open a source font, refusing any file but the one this script was written for."""
    with open(path, "rb") as handle:
        found = hashlib.sha256(handle.read()).hexdigest()
    if found != digest:
        sys.exit(f"{path}: sha256 {found}, expected {digest}")
    return TTFont(path, recalcTimestamp=False)


def settle(font):
    """Write and read the font back, so that each step starts from whole tables."""
    buffer = io.BytesIO()
    font.flavor = None
    font.save(buffer)
    buffer.seek(0)
    return TTFont(buffer, recalcTimestamp=False)


def bake(font, feature, codes=None):
    """Apply a one-to-one feature for good, by pointing the character map at its glyphs."""
    gsub = font["GSUB"].table
    mapping = {}
    for record in gsub.FeatureList.FeatureRecord:
        if record.FeatureTag == feature:
            for index in record.Feature.LookupListIndex:
                for table in gsub.LookupList.Lookup[index].SubTable:
                    mapping.update(getattr(table, "ExtSubTable", table).mapping)
    for table in font["cmap"].tables:
        for code, glyph in table.cmap.items():
            if codes is None or code in codes:
                table.cmap[code] = mapping.get(glyph, glyph)


def footless_one(font):
    """Give the tabular 1 the plain outline of the proportional one, centred in its width.

    The original stands on a slab, which shouts in large figures.
    """
    glyphs, metrics, variations = font["glyf"], font["hmtx"].metrics, font["gvar"].variations
    plain, tabular = "one", "one.tf"
    width = metrics[tabular][0]
    shift = (width - metrics[plain][0]) // 2
    glyph = copy.deepcopy(glyphs[plain])
    glyph.coordinates.translate((shift, 0))
    glyph.recalcBounds(glyphs)
    glyphs[tabular] = glyph
    metrics[tabular] = (width, glyph.xMin)
    moves = copy.deepcopy(variations[plain])
    for move in moves:
        # The last four points carry the metrics, which stay those of the tabular glyph.
        move.coordinates[-4:] = [(0, 0)] * 4
    variations[tabular] = moves


def subset_to(font, codes, features):
    """Keep the glyphs of `codes` and the named layout features, drop the rest."""
    options = subset.Options()
    options.layout_features = features
    options.name_IDs = ["*"]
    options.notdef_outline = True
    options.hinting = False
    options.glyph_names = False
    options.drop_tables += ["DSIG", "gasp"]
    worker = subset.Subsetter(options)
    worker.populate(unicodes=codes)
    worker.subset(font)


def rename(font, family, description):
    """Give a changed font its own name, so that it is never taken for the original."""
    names = font["name"]
    keep = {0, 5, 7, 13, 14}
    names.names = [n for n in names.names if n.nameID in keep and n.platformID == 3]
    post_script = family.replace(" ", "")
    for number, text in ((1, family), (2, "Regular"), (3, f"{post_script}-Regular"),
                         (4, family), (6, f"{post_script}-Regular"), (10, description)):
        names.setName(text, number, 3, 1, 0x409)
    if "STAT" in font:
        del font["STAT"]
    font["head"].modified = STAMP


def report(font, path, codes):
    """Say what was written and which wished-for characters the source does not have."""
    have = font.getBestCmap()
    missing = "".join(chr(c) for c in codes if c not in have)
    print(f"{os.path.basename(path)}: {os.path.getsize(path):,} bytes, "
          f"{len(have)} characters, not in the source: {missing or 'none'}")


def make_inter(source, folder):
    """The proportional face: one `wght` axis, tabular digits, no contextual alternates."""
    font = open_checked(source, INTER_SHA256)
    font = instancer.instantiateVariableFont(font, {"opsz": 14, "wght": WEIGHTS})
    font = settle(font)
    footless_one(font)
    bake(font, "tnum", DIGITS)
    bake(font, "cv11")  # the single-storey a, as drawn in the design pictures
    codes = LATIN + GREEK_CYRILLIC + SIGNS
    # `calt` goes: it would swap signs between digits for proportional variants.
    subset_to(font, codes, ["kern", "mark", "mkmk", "ccmp", "locl"])
    # The axis name lives in `name`, which `rename` empties: it is written anew below.
    font["fvar"].instances = []
    rename(font, "Inter Spokeshave",
           "A subset of Inter with tabular digits, a plain 1 and the single-storey a by default.")
    font["fvar"].axes[0].axisNameID = font["name"].addMultilingualName({"en": "Weight"}, mac=False)
    path = os.path.join(folder, "Inter-Spokeshave.ttf")
    font.save(path)
    report(font, path, codes)


def make_mono(source, folder):
    """The fixed-width face for recipes and patterns: regular only, no code ligatures."""
    font = open_checked(source, MONO_SHA256)
    codes = LATIN + GREEK_CYRILLIC + SIGNS
    subset_to(font, codes, ["mark", "mkmk", "ccmp"])
    rename(font, "JetBrains Mono Spokeshave",
           "A subset of JetBrains Mono without ligatures.")
    path = os.path.join(folder, "JetBrainsMono-Spokeshave.ttf")
    font.save(path)
    report(font, path, codes)


def main():
    """Write both fonts beside this script."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder = os.path.dirname(os.path.abspath(__file__))
    make_inter(sys.argv[1], folder)
    make_mono(sys.argv[2], folder)


if __name__ == "__main__":
    main()
