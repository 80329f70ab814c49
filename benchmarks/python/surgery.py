"""The other side of surgery: the original's algorithm on PyTorch. Usage: surgery.py STEPS SHAPES default|foreach"""

import json
import statistics
import sys
import time

import torch
from craft_original import assign, craft_update
from measure import status

STEPS, SHAPES, FOREACH = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3] == "foreach"

torch.manual_seed(0)
parameters = [torch.nn.Parameter(torch.randn(shape).mul_(0.02)) for shape in SHAPES]
task = [torch.randn(shape).mul_(1e-3) for shape in SHAPES]
retain = [torch.randn(g.shape).mul_(1e-3).sub_(g, alpha=0.5) for g in task]
optimizer = torch.optim.AdamW(parameters, lr=1e-5, weight_decay=1e-4, foreach=FOREACH)
times = []
conflict = False
for i in range(STEPS):
    # zero_grad() may write zeros into them.
    assign(parameters, [gradient.clone() for gradient in task])
    before = time.perf_counter()
    # The backward passes are not measured: their gradients are filled in directly.
    conflict = craft_update(parameters, lambda: assign(parameters, retain), optimizer)
    times.append((time.perf_counter() - before) * 1000)
total = sum(p.detach().double().abs().sum().item() for p in parameters)
peak = status("VmHWM")
print(json.dumps({"step_ms": statistics.median(times[1:]), "conflict": conflict, "sum": total, "peak_mb": peak}))
