"""The other side of act-step: ACT's architecture in plain PyTorch, same sizes, loss and optimiser. Usage: act_step.py STEPS"""

import json
import statistics
import sys

import torch
from act_model import CHUNK, DIM, Act
from measure import status, time_steps, train_step

STEPS = int(sys.argv[1])
BATCH = 8

torch.manual_seed(0)
model = Act()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=1e-4)
state, action = torch.randn(BATCH, DIM), torch.randn(BATCH, CHUNK, DIM)
is_pad = torch.zeros(BATCH, CHUNK, dtype=torch.bool)


def step():
    train_step(model, [state, action, is_pad], optimizer, max_norm=10)


step()  # Warms up.
times, _ = time_steps(STEPS, step)
parameters = sum(p.numel() for p in model.parameters())
print(json.dumps({"step_ms": statistics.median(times), "peak_mb": status("VmHWM"), "parameters": parameters}))
