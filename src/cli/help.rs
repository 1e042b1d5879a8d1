//! What `--help` teaches: how the tool thinks, the scheme language by example, units and exit codes. Lines fit 80 columns.

/// Above the options of `spokeshave --help`.
pub const LONG: &str = "\
Make neural networks smaller by hand: prune and quantize, see size and quality
move, export exactly what you saw.

Without a command the window opens, on MODEL or on the demo inside the program.
The commands do without a window what it does with one, by the same numbers.";

/// Below the options of `spokeshave -h`.
pub const EXAMPLES: &str = "\
Examples:
  spokeshave                                          the window, with a demo
  spokeshave inspect model.safetensors                what is in it
  spokeshave estimate demo --set '*=prune:0.9+int4'   what that costs and breaks
  spokeshave export demo --set '*=int4' -o small.spk  write it, read it back

--help (not -h) teaches patterns, schemes, targets, units and exit codes.";

/// Below the options of `spokeshave --help`.
pub const MANUAL: &str = "\
How it works:
  A model is a list of tensors. A recipe gives each tensor a scheme: what is
  done to its values. A target is the file format to be written; it decides what
  can be held and what that costs in bytes. estimate says what a recipe comes
  to. export writes it, reads it back and compares. verify does so again at any
  later time, by the recipe that every exported file carries.

Patterns (--set 'PATTERN=SCHEME', split at the last =):
  *.weight            a glob over the whole name; * crosses dots;
                      also ? [0-3] [!a] {a,b}
  re:fc[12]\\..*       a regular expression over the whole name
  fc3.bias            a name in full
  A glob or regex touches weight matrices only; norms, biases and positions are
  touched when they are named in full. The last line that matches a tensor gives
  its whole scheme. A pattern that touches nothing is an error that says why.

Schemes (steps joined by +, in this order, at most one of each):
  keep                nothing is done
  prune:0.9           the 90 % smallest magnitudes become 0
                      prune:0.9:row     in each row
                      prune:0.9:global  over all tensors of the line
  rows:0.25           the 25 % smallest rows go, with all that belongs to them
                      cols:0.25  columns   heads:0.25  attention heads
                      ffn:0.25  hidden units of feed-forward blocks
  int4                integers of 2 to 8 bits, one scale per row
                      int4:tensor  int4:g32  int4:g64  int4:g128  other scales
                      int4:g64:asym                  with a zero point
                      int4:row:mse  int4:row:p99.9   a clip instead of the maximum
  f16  bf16           plain casts
  prune:0.9+int4:g64  first prune, then quantize what survives
  nm:2:4              2 of every 4 weights along a row stay
  block:4x4:0.5       half of the 4 × 4 blocks go, those with the least energy
  random:0.5:7        half by lot, with the seed 7
  mask:FILE           the zeros of another model, or of a file of masks
                      (in a recipe file, relative to that file)
  rank:64             the closest product of two thinner matrices (SVD)
                      energy:0.9  the least rank that keeps 90 % of the energy
  fp8_e4m3  fp8_e5m2  8-bit floats, plain or with a scale per row (:row)
  mxfp4  nvfp4  nf4   4-bit floats and levels in blocks (nf4:g32 …)
  ternary  binary     three or two levels, per tensor or :row
  codebook:64         64 shared values by k-means; :row  :best, the optimum
  q8_0 q6_k q5_k q4_k q3_k q2_k q5_0 q5_1 q4_0 q4_1 iq4_nl iq4_xs tq1_0 tq2_0
                      mxfp4_ggml: GGUF's own blocks, bit for bit llama.cpp's
  wanda               refused for now: not built yet
  --recipe takes an exported file, too: what made it is done again, and its own
  zeros are what mask:embedded in it means.

Models (MODEL):
  .safetensors        or a folder of them in the Hugging Face layout
  .gguf               any of the files of a split one, or a folder
  .pt .pth .bin       PyTorch's, also TorchScript; nothing in them is run
  .onnx               with the files beside it that hold its weights
  .npy .npz           NumPy's
  .spk                what --target packed has written
  Compressed folders of compressed-tensors and MLX open as what they are; what is
  in codes is touched under --requantize only.

Targets (--target):
  packed              Spokeshave's own container, where zeros and low bits
                      become bytes; the default for a demo
  safetensors         dense and drop-in: values change, and only casts make the
                      file smaller; the default otherwise
  gguf                llama.cpp's: its own blocks, f16 and bf16, from a GGUF file
                      or a folder of llama, mistral, qwen2 or qwen3
  compressed-tensors  a folder for vLLM and transformers: int4 and int8, fp8,
                      mxfp4, nvfp4, mixed as you like; int8:row:a8 has it round
                      activations to 8 bits too (W8A8), which no number tells of
  mlx                 a folder for mlx-lm: 2 to 6 and 8 bits in groups

Numbers:
  Bytes are exact, headers included; KiB and MiB are powers of 1024. stored is
  what will be on disk; sparse and entropy are formulas for what better coding
  could reach. t² is the share of a tensor's energy that is lost, SQNR the same
  in decibels. fidelity multiplies what all weight matrices keep; it stands in
  for quality and is no accuracy: evaluate measures that.

Exit codes:
  0  done, also when the reader of a pipe has read enough
  1  it could not be done: a bad file or recipe file, a pattern that touches
     nothing, a target that cannot hold a scheme, something not built yet, a
     verification that failed
  2  the command line is wrong: an unknown option, scheme or target
  130, 143, 129  stopped by Ctrl+C, SIGTERM, SIGHUP: nothing was written. A
     second one ends the program at once";

/// Below the options of `inspect`.
pub const INSPECT: &str = "\
Examples:
  spokeshave inspect demo
  spokeshave inspect model.safetensors --json | jq '.tensors[].role'

min, max, mean and std are over finite values; tensors that are not float have
no statistics. Patterns touch the tensors of every role but norm, bias,
position, statistic and basis.";

/// Below the options of `estimate`.
pub const ESTIMATE: &str = "\
Examples:
  spokeshave estimate demo --set '*=int4:g64'
  spokeshave estimate demo --set '*=prune:0.9:global' --set fc3.weight=int8
  spokeshave estimate model.safetensors --recipe mine.toml --bytes-only

Nothing is written. spokeshave --help explains patterns and schemes.";

/// Below the options of `export`.
pub const EXPORT: &str = "\
Examples:
  spokeshave export demo --set '*=prune:0.9+int4' -o small.spk
  spokeshave export model.safetensors --recipe mine.toml -o new.safetensors

The file is written beside OUT, read back, compared, and only then named OUT.
--mask-only writes what is pruned as masks, to be trained under: BOOL tensors of
the same names and shapes, 1 where an element stays; mask:FILE takes them.
--rewind FILE writes the earlier checkpoint FILE under the masks of MODEL: the
winning ticket mask(MODEL) x FILE. The recipe inside is then one for FILE, and
verify FILE OUT checks it.

When it is stopped with Ctrl+C nothing of it stays. When it is killed, a file
.spokeshave-PROCESS-NUMBER.tmp stays beside OUT; the next export there names it,
and removes it with --clean. A folder that was just being replaced may be left
in one that ends in .old; --clean gives it its name back.

A folder model becomes a folder, with all that stands beside its weights but
hidden folders, pipes and links that lead to folders or nowhere. OUT lies
outside of the folder that is read.

spokeshave --help explains patterns, schemes and targets.";

/// Below the options of `preset`.
pub const PRESET: &str = "\
Examples:
  spokeshave preset erk demo --share 0.9 -o erk.toml
  spokeshave preset lottery-ticket demo --round 7
  spokeshave preset lamp model.safetensors --share 0.8 -o lamp.toml
  spokeshave estimate model.safetensors --recipe lamp.toml

A preset is a recipe like any other: shares are spelled out, one line a tensor,
to be read, changed and mixed. uniform, global, erk and lamp take --share,
lottery-ticket and renda --round, the others nothing. lamp alone reads the
weights. Round N of a ladder is what is left after N rounds; training between
them is yours: export --mask-only and --rewind lead back to it.";

/// Below the options of `recipe`.
pub const RECIPE: &str = "\
Examples:
  spokeshave recipe demo --set '*=int4' -o mine.toml
  spokeshave recipe model.gguf --recipe mine.toml --for command
  spokeshave recipe model.gguf --set '*=q4_k' --for llama.cpp -o types.txt
  spokeshave recipe model.gguf --from-tensor-types types.txt -o mine.toml

--for llama.cpp names the type of every matrix; llama-quantize has no words for
pruning or factors, which export --target gguf writes all the same.";

/// Below the options of `report`.
pub const REPORT: &str = "\
Examples:
  spokeshave report demo --set '*=prune:0.9+int4' -o demo.html
  spokeshave report model.gguf --recipe mine.toml -o mine.csv

The page is one file with its plots; it fetches nothing and runs nothing. Numbers
are exact.";

/// Below the options of `verify`.
pub const VERIFY: &str = "\
Example:
  spokeshave verify demo small.spk && echo good

Every tensor is computed again from MODEL by the recipe inside OUT, and
compared. A mismatch is exit code 1, with the report on stdout all the same.";

/// Below the options of `compare`.
pub const COMPARE: &str = "\
Example:
  spokeshave compare model.safetensors pruned.safetensors

A is the reference. That two models differ is an answer: exit code 0. In the
window, spokeshave A --beside B compares what would be exported of A with B.";

/// Below the options of `evaluate`.
pub const EVALUATE: &str = "\
Examples:
  spokeshave evaluate demo --set '*=prune:0.9'
  spokeshave evaluate model.safetensors --set '*=int4' \\
      --with 'python score.py {model}'

Without --with the model must be the demo, or a file with its tensor names and
shapes. With it, the compressed model is exported to a temporary file, {model}
becomes its path (quoted where it needs quotes), and the file is deleted at the
end.";

/// Below the options of `screenshot`.
pub const SCREENSHOT: &str = "\
Examples:
  spokeshave screenshot demo --set '*=prune:0.9' -o window.png --theme light
  spokeshave screenshot demo --view bytes --select fc2.weight -o bytes.png
  spokeshave screenshot demo --view compare --beside other.spk -o compare.png";

/// Below the options of `completions`.
pub const COMPLETIONS: &str = "\
Example:
  spokeshave completions fish > ~/.config/fish/completions/spokeshave.fish";
