"""A small modern transformer: rotary positions, RMS norm, gated feed-forward, tied embeddings, no biases.

Sources: pre-norm decoder (Radford et al. 2019), rotary embeddings (Su et al., arXiv 2104.09864), RMS norm
(Zhang and Sennrich, arXiv 1910.07467), SwiGLU (Shazeer, arXiv 2002.05202).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from emerit.errors import UsageError
from emerit.model.table import hidden_width
from emerit.protocol.manifest import ModelSpec

_ROTARY_BASE = 10_000.0
_NORM_EPSILON = 1e-5


class Block(nn.Module):
    """One layer: attention and a gated feed-forward layer, each behind a norm and added to the stream."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width, hidden = spec.d_model, hidden_width(spec)
        self.heads = spec.heads
        self.attention_norm = nn.Parameter(torch.zeros(width))
        self.attention_in = nn.Parameter(torch.zeros(3 * width, width))
        self.attention_out = nn.Parameter(torch.zeros(width, width))
        self.mlp_norm = nn.Parameter(torch.zeros(width))
        self.mlp_in = nn.Parameter(torch.zeros(2 * hidden, width))
        self.mlp_out = nn.Parameter(torch.zeros(width, hidden))

    def forward(self, stream: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Map the stream [B, T, d] to the stream after this layer; `cosine`, `sine`: [T, d / heads / 2]."""
        stream = stream + self._attention(_norm(stream, self.attention_norm), cosine, sine)
        return stream + self._mlp(_norm(stream, self.mlp_norm))

    def _attention(self, inputs: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, width = inputs.shape
        mixed = F.linear(inputs, self.attention_in).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(
            _rotate(query, cosine, sine), _rotate(key, cosine, sine), value, is_causal=True
        )
        return F.linear(attended.transpose(1, 2).reshape(batch, length, width), self.attention_out)

    def _mlp(self, inputs: Tensor) -> Tensor:
        gate, linear = F.linear(inputs, self.mlp_in).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * linear, self.mlp_out)


class Gpt(nn.Module):
    """Decoder-only transformer over `spec.vocabulary` tokens.

    All parameters are zero when built: values always come from a state (`emerit.training.state`), never from
    a library's random generator, whose output differs between processors.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Parameter(torch.zeros(spec.vocabulary, spec.d_model))
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.final_norm = nn.Parameter(torch.zeros(spec.d_model))
        cosine, sine = _rotary_tables(spec.context, spec.d_model // spec.heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens, int64[B, T] with T <= context, to logits, float32[B, T, vocabulary]."""
        length = tokens.shape[1]
        if length > self.spec.context:
            raise UsageError(
                "sequence-too-long",
                f"A sequence of {length} tokens does not fit the model's context of {self.spec.context}.",
                "Cut the sequence, or use a model with a longer context.",
            )
        stream = F.embedding(tokens, self.embedding)
        for block in self.blocks:
            stream = block(stream, self.cosine[:length], self.sine[:length])
        return F.linear(_norm(stream, self.final_norm), self.embedding)


def _norm(inputs: Tensor, gain: Tensor) -> Tensor:
    return F.rms_norm(inputs, (inputs.shape[-1],), gain, _NORM_EPSILON)


def _rotary_tables(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of all position angles, float32[length, head_width / 2] each."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64) / head_width
    positions = torch.arange(length, dtype=torch.float64)
    angles = torch.outer(positions, _ROTARY_BASE**-exponents)
    return angles.cos().float(), angles.sin().float()


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate each pair (entry i, entry i + half) of the heads [B, H, T, w] by its position's angle."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)
