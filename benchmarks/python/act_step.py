"""The other side of act-step: ACT's architecture in plain PyTorch, same sizes, loss and optimiser. Usage: act_step.py STEPS"""

import json
import re
import statistics
import sys
import time

import torch
from torch import nn

STEPS = int(sys.argv[1])
BATCH, DIM, CHUNK, WIDTH, HEADS, FEEDFORWARD, LATENT = 8, 26, 100, 512, 8, 3200, 32


class EncoderLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1)
        self.linear1, self.linear2 = nn.Linear(WIDTH, FEEDFORWARD), nn.Linear(FEEDFORWARD, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.dropout, self.dropout1, self.dropout2 = nn.Dropout(0.1), nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, x, position, padding=None):
        q = x + position
        x = self.norm1(x + self.dropout1(self.self_attn(q, q, x, key_padding_mask=padding)[0]))
        return self.norm2(x + self.dropout2(self.linear2(self.dropout(self.linear1(x).relu()))))


class DecoderLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1)
        self.multihead_attn = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.1)
        self.linear1, self.linear2 = nn.Linear(WIDTH, FEEDFORWARD), nn.Linear(FEEDFORWARD, WIDTH)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x, memory, query_position, memory_position):
        q = x + query_position
        x = self.norm1(x + self.dropout(self.self_attn(q, q, x)[0]))
        attended = self.multihead_attn(x + query_position, memory + memory_position, memory)[0]
        x = self.norm2(x + self.dropout(attended))
        return self.norm3(x + self.dropout(self.linear2(self.dropout(self.linear1(x).relu()))))


class Act(nn.Module):
    def __init__(self):
        super().__init__()
        self.vae = nn.ModuleList([EncoderLayer() for _ in range(4)])
        self.cls = nn.Embedding(1, WIDTH)
        self.vae_state, self.vae_action = nn.Linear(DIM, WIDTH), nn.Linear(DIM, WIDTH)
        self.vae_out = nn.Linear(WIDTH, 2 * LATENT)
        self.register_buffer("vae_position", torch.randn(CHUNK + 2, 1, WIDTH))
        self.encoder = nn.ModuleList([EncoderLayer() for _ in range(4)])
        self.state, self.latent = nn.Linear(DIM, WIDTH), nn.Linear(LATENT, WIDTH)
        self.position = nn.Embedding(2, WIDTH)
        self.decoder, self.norm = DecoderLayer(), nn.LayerNorm(WIDTH)
        self.query = nn.Embedding(CHUNK, WIDTH)
        self.head = nn.Linear(WIDTH, DIM)

    def forward(self, state, action, is_pad):
        batch = state.shape[0]
        tokens = [self.cls.weight.expand(batch, 1, WIDTH), self.vae_state(state)[:, None], self.vae_action(action)]
        x = torch.cat(tokens, 1).transpose(0, 1)
        padding = torch.cat([torch.zeros(batch, 2, dtype=torch.bool), is_pad], 1)
        for layer in self.vae:
            x = layer(x, self.vae_position, padding)
        mu, log_sigma_x2 = self.vae_out(x[0]).chunk(2, -1)
        z = mu + (log_sigma_x2 / 2).exp() * torch.randn_like(mu)
        x = torch.stack([self.latent(z), self.state(state)])
        position = self.position.weight[:, None]
        for layer in self.encoder:
            x = layer(x, position)
        queries = torch.zeros(CHUNK, batch, WIDTH)
        y = self.norm(self.decoder(queries, x, self.query.weight[:, None], position))
        error = (action - self.head(y.transpose(0, 1))).abs() * ~is_pad[..., None]
        l1 = error.sum() / ((~is_pad).sum() * DIM)
        kld = (-0.5 * (1 + log_sigma_x2 - mu**2 - log_sigma_x2.exp())).sum(-1).mean()
        return l1 + 10 * kld


torch.manual_seed(0)
model = Act()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=1e-4)
state, action = torch.randn(BATCH, DIM), torch.randn(BATCH, CHUNK, DIM)
is_pad = torch.zeros(BATCH, CHUNK, dtype=torch.bool)
times = []
for i in range(STEPS + 1):
    before = time.perf_counter()
    loss = model(state, action, is_pad)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10)
    optimizer.step()
    optimizer.zero_grad()
    loss.item()
    if i > 0:
        times.append((time.perf_counter() - before) * 1000)
peak = int(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1]) / 1024
parameters = sum(p.numel() for p in model.parameters())
print(json.dumps({"step_ms": statistics.median(times), "peak_mb": peak, "parameters": parameters}))
