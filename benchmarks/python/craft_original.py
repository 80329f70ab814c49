"""The gradient surgery of the original Python project, as its documentation describes it: lists of cloned gradients, one
tensor after another, every inner product brought to Python."""

import torch


def clone_gradients(parameters):
    return [None if p.grad is None else p.grad.clone() for p in parameters]


def dot(first, second):
    return sum((x * y).sum().item() for x, y in zip(first, second) if x is not None and y is not None)


def project_if_conflict(task, retain, threshold):
    d, task_sq, retain_sq = dot(task, retain), dot(task, task), dot(retain, retain)
    cos = d / (task_sq**0.5 * retain_sq**0.5 + 1e-12)
    if cos >= threshold or retain_sq < 1e-12:
        return task, False
    scale = d / retain_sq
    return [x if x is None or y is None else x - scale * y for x, y in zip(task, retain)], True


def merge(task, retain, weight):
    return [y if x is None else x if y is None else x + weight * y for x, y in zip(task, retain)]


def assign(parameters, gradients):
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient


def craft_update(parameters, retain_backward, optimizer, weight=1.0, max_norm=10.0, threshold=-0.1):
    """Everything after the task's backward pass; `retain_backward` is the retention loss's."""
    task = clone_gradients(parameters)
    optimizer.zero_grad()
    retain_backward()
    retain = clone_gradients(parameters)
    projected, conflict = project_if_conflict(task, retain, threshold)
    assign(parameters, merge(projected, retain, weight))
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    optimizer.zero_grad()
    return conflict
