"""The other side of craft-step: steps of training on PyTorch, with the original's algorithm or plain.
Usage: craft_step.py act|pi0_fast craft|baseline STEPS FOLDER"""

import json
import statistics
import sys

import torch
from craft_original import craft_update
from measure import status, time_steps, train_step

POLICY, KIND, STEPS, FOLDER = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

torch.manual_seed(0)
if POLICY == "act":
    from act_model import CHUNK, DIM, Act

    BATCH, SIDE, MAX_NORM = 4, 128, 10.0
    policy = Act(camera=True)
    make = lambda: [torch.randn(BATCH, DIM), torch.randn(BATCH, CHUNK, DIM), torch.zeros(BATCH, CHUNK, dtype=torch.bool)]
    task, anchors = [*make(), torch.rand(BATCH, 3, SIDE, SIDE)], [*make(), torch.rand(BATCH, 3, SIDE, SIDE)]
    settings = {"lr": 1e-5, "weight_decay": 1e-4}
else:
    from pi0_fast_model import load_policy

    MAX_NORM = 1.0
    policy, task = load_policy(FOLDER)
    anchors = task
    settings = {"lr": 2.5e-5, "betas": (0.9, 0.95), "weight_decay": 0.01}

parameters = list(policy.parameters())
optimizer = torch.optim.AdamW(parameters, **settings)


def craft_step():
    loss = policy(*task)
    loss.backward()
    # Always project, so that every step does all of its work.
    craft_update(parameters, lambda: policy(*anchors).backward(), optimizer, max_norm=MAX_NORM, threshold=2)
    loss.item()


def plain_step():
    train_step(policy, task, optimizer, MAX_NORM)


step = craft_step if KIND == "craft" else plain_step
step()  # Warms up.
times, cpu_times = time_steps(STEPS, step)
count = sum(p.numel() for p in parameters)
figures = {"step_ms": statistics.median(times), "cpu_ms": statistics.median(cpu_times)}
print(json.dumps({**figures, "peak_mb": status("VmHWM"), "parameters": count}))
