"""The other side of op-overhead: the same calls through PyTorch's own binding, in microseconds."""

import json
import time

import torch

CALLS = 20000
REPETITIONS = 15

torch.set_num_threads(1)
a = torch.ones(4, 4)
b = torch.ones(4, 4)
x = torch.ones(2, 4)
linear = torch.nn.Linear(4, 4)

calls = {
    "add": lambda: a.add(b),
    "mul_scalar": lambda: a.mul(2),
    "matmul": lambda: a.matmul(b),
    "view": lambda: a.view([16]),
    "sum": lambda: a.sum(),
    "linear_forward": lambda: linear(x),
}


def measure(call):
    best = float("inf")
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter() - start) * 1e6 / CALLS)
    return best


print(json.dumps({name: measure(call) for name, call in calls.items()}))
