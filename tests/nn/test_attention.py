"""Attention in closed form: gates between nothing and everything, self-attention against a softmax written out."""

from __future__ import annotations

import math

import torch

from vmat_rt.nn.attention import AttentionGate, SelfAttention


def test_a_gate_passes_a_share_that_is_the_sigmoid_of_its_weight() -> None:
    gate = AttentionGate(4)
    torch.nn.init.zeros_(gate.weight.weight)
    torch.nn.init.constant_(gate.weight.bias, 1.5)
    skip, below = torch.randn(2, 1, 4, 2, 3, 5)
    share = 1 / (1 + math.exp(-1.5))
    torch.testing.assert_close(gate(skip, below), skip * share)


def test_a_gate_opens_where_skip_and_below_agree() -> None:
    """One channel, weights 1: agreement is relu(skip + below), and the gate its sigmoid."""
    gate = AttentionGate(1)
    for layer in (gate.of_skip, gate.of_below, gate.weight):
        torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(gate.of_below.bias)
    torch.nn.init.zeros_(gate.weight.bias)
    skip, below = torch.tensor([2.0, 2.0, -3.0]), torch.tensor([1.0, -5.0, 1.0])
    found = gate(skip.view(1, 1, 1, 1, 3), below.view(1, 1, 1, 1, 3)).flatten()
    torch.testing.assert_close(found, skip * torch.sigmoid(torch.relu(skip + below)))


def test_self_attention_starts_as_the_identity() -> None:
    x = torch.randn(2, 8, 2, 3, 4)
    assert torch.equal(SelfAttention(8, 2)(x), x)


def test_self_attention_is_the_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(6, 2).double()
    torch.nn.init.normal_(layer.out.weight)
    x = torch.randn(1, 6, 2, 2, 3, dtype=torch.float64)
    tokens = x[0].flatten(1).T
    centred = tokens - tokens.mean(1, keepdim=True)
    normal = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + layer.norm.eps)
    normal = normal * layer.norm.weight + layer.norm.bias
    made = normal @ layer.query_key_value.weight.T + layer.query_key_value.bias
    query, key, value = made.split(6, 1)
    heads = []
    for part in (slice(0, 3), slice(3, 6)):
        score = query[:, part] @ key[:, part].T / math.sqrt(3)
        heads.append(torch.exp(score) / torch.exp(score).sum(1, keepdim=True) @ value[:, part])
    wanted = tokens + torch.cat(heads, 1) @ layer.out.weight.T + layer.out.bias
    torch.testing.assert_close(layer(x)[0].flatten(1).T, wanted)
