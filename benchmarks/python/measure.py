"""What the Python sides share: a plain training step, its times, and memory."""

import re
import time

from torch import nn


def status(field):
    """A line of /proc/self/status, such as VmHWM (the peak of resident memory), in MB."""
    return int(re.search(rf"{field}:\s+(\d+) kB", open("/proc/self/status").read())[1]) / 1024


def train_step(model, inputs, optimizer, max_norm):
    loss = model(*inputs)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    optimizer.zero_grad()
    loss.item()


def time_steps(count, step):
    """Milliseconds of every step, and of processor time of all threads, which a busy machine distorts less."""
    times, cpu_times = [], []
    for _ in range(count):
        before, cpu_before = time.perf_counter(), time.process_time()
        step()
        times.append((time.perf_counter() - before) * 1000)
        cpu_times.append((time.process_time() - cpu_before) * 1000)
    return times, cpu_times
