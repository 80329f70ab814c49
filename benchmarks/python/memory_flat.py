"""The other side of memory-flat: the same model, batch and optimiser in PyTorch. Usage: memory_flat.py STEPS"""

import json
import statistics
import sys
import time

import torch
from measure import status
from torch import nn

STEPS = int(sys.argv[1])
BATCH, LENGTH, DIM, HEADS, LAYERS, CLASSES = 16, 64, 128, 4, 2, 32


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(DIM)
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(DIM)
        self.mlp = nn.Sequential(nn.Linear(DIM, 4 * DIM), nn.GELU(), nn.Linear(4 * DIM, DIM))

    def forward(self, x):
        h = self.norm1(x)
        y = x + self.attention(h, h, h, need_weights=False)[0]
        return y + self.mlp(self.norm2(y))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, DIM)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


torch.manual_seed(0)
start = status("VmHWM")
model = Model()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
tokens = torch.randint(0, CLASSES, (BATCH, LENGTH))
targets = tokens.roll([1], [1]).flatten()


def step():
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1)
    optimizer.step()
    return loss.item()


losses = []
times = []
for _ in range(STEPS):
    before = time.perf_counter()
    losses.append(step())
    times.append((time.perf_counter() - before) * 1000)
result = {
    "steps": STEPS,
    "start_mb": start,
    "peak_mb": status("VmHWM"),
    "step_ms": statistics.median(times),
    "first_loss": losses[0],
    "last_loss": losses[-1],
}
print(json.dumps(result))
