"""pi0_fast, variant gemma_mini, in plain PyTorch, with the eager attention that LeRobot asks transformers for and the loss over every
action position."""

import json
import math
import struct

import torch
import torch.nn.functional as F
from torch import nn

VISION, VISION_MLP, VISION_DEPTH, VISION_HEADS, PATCH, SIDE = 384, 1536, 6, 6, 14, 112
WIDTH, MLP, DEPTH, HEADS, HEAD_DIM, VOCABULARY, BOS = 512, 2048, 8, 8, 64, 4096, 2
BLOCKED = -2.3819763e38
DTYPES = {"F32": torch.float32, "I64": torch.int64}


def load(path):
    data = open(path, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    body = bytearray(data[8 + size :])
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            dtype = DTYPES[entry["dtype"]]
            count = (end - begin) // (4 if dtype == torch.float32 else 8)
            flat = torch.frombuffer(body, dtype=dtype, count=count, offset=begin)
            tensors[name] = flat.reshape(entry["shape"]).clone()
    return tensors


class VisionAttention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self, name, nn.Linear(VISION, VISION))

    def forward(self, x):
        b, n, _ = x.shape
        split = lambda y: y.view(b, n, VISION_HEADS, -1).transpose(1, 2)
        q, k, v = split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x))
        if hasattr(F, "scaled_dot_product_attention"):
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = torch.matmul(q, k.transpose(2, 3)) * (VISION // VISION_HEADS) ** -0.5
            out = torch.matmul(F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype), v)
        return self.out_proj(out.transpose(1, 2).reshape(b, n, VISION))


class VisionMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(VISION, VISION_MLP), nn.Linear(VISION_MLP, VISION)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(VISION, eps=1e-6), nn.LayerNorm(VISION, eps=1e-6)
        self.self_attn, self.mlp = VisionAttention(), VisionMlp()

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.Module()
        self.embeddings.patch_embedding = nn.Conv2d(3, VISION, PATCH, PATCH)
        self.embeddings.position_embedding = nn.Embedding((SIDE // PATCH) ** 2, VISION)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList([VisionLayer() for _ in range(VISION_DEPTH)])
        self.post_layernorm = nn.LayerNorm(VISION, eps=1e-6)

    def forward(self, images):
        x = self.embeddings.patch_embedding(images).flatten(2).transpose(1, 2)
        x = x + self.embeddings.position_embedding.weight
        for layer in self.encoder.layers:
            x = layer(x)
        return self.post_layernorm(x)


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x):
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (h * (1.0 + self.weight.float())).type_as(x)


def rotate_half(x):
    first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-second, first), dim=-1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, HEADS * HEAD_DIM, bias=False)
        self.k_proj = nn.Linear(WIDTH, HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(WIDTH, HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD_DIM, WIDTH, bias=False)

    def forward(self, x, cos, sin, mask, cache):
        b, n, _ = x.shape
        split = lambda y: y.view(b, n, -1, HEAD_DIM).transpose(1, 2)
        q, k, v = split(self.q_proj(x)), split(self.k_proj(x)), split(self.v_proj(x))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        if cache is not None:
            if len(cache) > 0:
                k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
            cache[:] = [k, v]
        repeat = lambda y: y[:, :, None].expand(b, 1, HEADS, y.shape[2], HEAD_DIM).reshape(b, HEADS, -1, HEAD_DIM)
        k, v = repeat(k), repeat(v)
        weights = torch.matmul(q, k.transpose(2, 3)) * HEAD_DIM**-0.5 + mask
        weights = F.softmax(weights, dim=-1, dtype=torch.float32).to(q.dtype)
        return self.o_proj(torch.matmul(weights, v).transpose(1, 2).reshape(b, n, -1))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(WIDTH, MLP, bias=False), nn.Linear(WIDTH, MLP, bias=False)
        self.down_proj = nn.Linear(MLP, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()
        self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()

    def forward(self, x, cos, sin, mask, cache):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.vision, self.projector = Vision(), nn.Linear(VISION, WIDTH)
        self.embed = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.layers, self.norm = nn.ModuleList([Layer() for _ in range(DEPTH)]), Norm()
        self.lm_head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def tokens(self, ids):
        return self.embed(ids) * math.sqrt(WIDTH)

    def decoder(self, x, positions, allowed, caches=None):
        frequencies = 1.0 / (10000 ** (torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM))
        angles = positions[..., None].float() * frequencies
        angles = torch.cat((angles, angles), -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        mask = torch.where(allowed[:, None], 0.0, BLOCKED)
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, mask, None if caches is None else caches[i])
        return self.norm(x)

    def prefix(self, images, language, language_mask):
        # As LeRobot: one camera after the other.
        parts = [self.projector(self.vision(image * 2 - 1)) for image in images]
        seen = sum(part.shape[1] for part in parts)
        x = torch.cat([*parts, self.tokens(language)], 1)
        return x, torch.cat([torch.ones(x.shape[0], seen, dtype=torch.bool), language_mask], 1)

    def forward(self, images, language, language_mask, actions, action_mask):
        x, valid = self.prefix(images, language, language_mask)
        start, count = x.shape[1], actions.shape[1]
        x, valid = torch.cat([x, self.tokens(actions)], 1), torch.cat([valid, action_mask], 1)
        pattern = torch.zeros(x.shape[1], x.shape[1], dtype=torch.bool)
        pattern[:, :start] = True
        pattern[start:, start:] = torch.tril(torch.ones(count, count, dtype=torch.bool))
        pattern[:start, start:] = False
        allowed = valid[:, None] & valid[:, :, None] & pattern
        hidden = self.decoder(x, valid.cumsum(1) - 1, allowed)
        logits = self.lm_head(hidden[:, -count:])[:, :-1]
        targets, mask = actions[:, 1:], action_mask[:, 1:].float()
        loss = F.cross_entropy(logits.reshape(-1, VOCABULARY), targets.reshape(-1), reduction="none")
        return (loss * mask.reshape(-1)).sum() / mask.sum().clamp(min=1)

    @torch.no_grad()
    def decode(self, images, language, language_mask, count):
        bos = torch.full((1, 1), BOS)
        x, valid = self.prefix(images, torch.cat([language, bos], 1), torch.cat([language_mask, bos > 0], 1))
        caches = [[] for _ in self.layers]
        hidden = self.decoder(x, valid.cumsum(1) - 1, valid[:, None] & valid[:, :, None], caches)
        tokens = [self.lm_head(hidden[:, -1:])[:, -1].argmax(-1, keepdim=True)]
        for _ in range(count - 1):
            valid = torch.cat([valid, torch.ones(1, 1, dtype=torch.bool)], 1)
            positions = valid.sum(1, keepdim=True) - 1
            hidden = self.decoder(self.tokens(tokens[-1]), positions, valid[:, None], caches)
            tokens.append(self.lm_head(hidden[:, -1:])[:, -1].argmax(-1, keepdim=True))
        return torch.cat(tokens, 1)[0].tolist()


def own_name(name):
    name = name.replace("model.paligemma_with_expert.paligemma.", "")
    name = name.replace("model.vision_tower.vision_model.", "vision.").replace("model.multi_modal_projector.linear", "projector")
    return name.replace("model.language_model.embed_tokens", "embed").replace("model.language_model.", "")


def load_policy(folder):
    """The policy, and one batch as its forward takes it, from the files that node/pi0-fast.mjs makes."""
    policy = Policy()
    policy.load_state_dict({own_name(name): value for name, value in load(folder + "/model.safetensors").items()})
    given = load(folder + "/inputs.safetensors")
    images = [given["left"], given["right"]]
    masks = [given["language_mask"].bool(), given["action_mask"].bool()]
    return policy, [images, given["language"], masks[0], given["actions"], masks[1]]
