"""The other side of act-step: ACT's architecture in plain PyTorch, same sizes, loss and optimiser. Usage: act_step.py STEPS"""

import json
import re
import statistics
import sys
import time

import torch
from act_model import CHUNK, DIM, Act
from torch import nn

STEPS = int(sys.argv[1])
BATCH = 8

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
