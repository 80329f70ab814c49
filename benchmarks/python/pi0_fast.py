"""The other side of pi0-fast: the same network in plain PyTorch, with the eager attention that LeRobot asks transformers for, the loss
over every action position, AdamW and a growing key-value cache. Usage: pi0_fast.py FOLDER STEPS TOKENS"""

import json
import statistics
import sys
import time

import torch
from measure import status, time_steps, train_step
from pi0_fast_model import load_policy

FOLDER, STEPS, TOKENS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

torch.manual_seed(0)
policy, batch = load_policy(FOLDER)
images, language, language_mask = batch[:3]
one = [[image[:1] for image in images], language[:1], language_mask[:1]]
policy.decode(*one, 3)
before, cpu_before = time.perf_counter(), time.process_time()
tokens = policy.decode(*one, TOKENS)
decode_ms = (time.perf_counter() - before) * 1000 / TOKENS
decode_cpu_ms = (time.process_time() - cpu_before) * 1000 / TOKENS

optimizer = torch.optim.AdamW(policy.parameters(), lr=2.5e-5, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01)


def step():
    train_step(policy, batch, optimizer, max_norm=1.0)


step()  # Warms up.
with torch.no_grad():
    loss_after = policy(*batch).item()
times, cpu_times = time_steps(STEPS, step)
print(
    json.dumps(
        {
            "step_ms": statistics.median(times),
            "step_cpu_ms": statistics.median(cpu_times),
            "decode_cpu_ms_per_token": decode_cpu_ms,
            "decode_ms_per_token": decode_ms,
            "peak_mb": status("VmHWM"),
            "loss": loss_after,
            "tokens": tokens,
        }
    )
)
