"""ACT's architecture in plain PyTorch at LeRobot's default size, state only or with one camera."""

import math

import torch
from torch import nn

DIM, CHUNK, WIDTH, HEADS, FEEDFORWARD, LATENT = 26, 100, 512, 8, 3200, 32


class FrozenBatchNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x):
        # As torchvision's.
        shape = (1, -1, 1, 1)
        scale = self.weight.reshape(shape) * (self.running_var.reshape(shape) + 1e-5).rsqrt()
        return x * scale + (self.bias.reshape(shape) - self.running_mean.reshape(shape) * scale)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), FrozenBatchNorm(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), FrozenBatchNorm(outputs)
        self.downsample = nn.Identity()
        if stride > 1:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, FrozenBatchNorm(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.downsample(x)).relu()


def resnet18():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), FrozenBatchNorm(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    widths = [64, 64, 128, 256, 512]
    for i in range(4):
        layers += [Block(widths[i], widths[i + 1], 1 if i == 0 else 2), Block(widths[i + 1], widths[i + 1], 1)]
    return nn.Sequential(*layers)


def grid_positions(height, width):
    divisor = 10000 ** (2 * (torch.arange(WIDTH // 2) // 2) / (WIDTH // 2))
    axis = lambda n: (torch.arange(1, n + 1) / (n + 1e-6) * 2 * math.pi)[:, None] / divisor
    mix = lambda angles: torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), 2).flatten(1)
    rows = mix(axis(height))[:, None].expand(height, width, -1)
    columns = mix(axis(width))[None].expand(height, width, -1)
    return torch.cat((rows, columns), 2).reshape(height * width, 1, WIDTH)


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
    def __init__(self, camera=False):
        super().__init__()
        self.backbone = resnet18() if camera else None
        self.features = nn.Conv2d(512, WIDTH, 1) if camera else None
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

    def forward(self, state, action, is_pad, image=None):
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
        if self.backbone is not None:
            cells = self.features(self.backbone(image))
            x = torch.cat([x, cells.flatten(2).permute(2, 0, 1)])
            position = torch.cat([position, grid_positions(*cells.shape[2:])])
        for layer in self.encoder:
            x = layer(x, position)
        queries = torch.zeros(CHUNK, batch, WIDTH)
        y = self.norm(self.decoder(queries, x, self.query.weight[:, None], position))
        error = (action - self.head(y.transpose(0, 1))).abs() * ~is_pad[..., None]
        l1 = error.sum() / ((~is_pad).sum() * DIM)
        kld = (-0.5 * (1 + log_sigma_x2 - mu**2 - log_sigma_x2.exp())).sum(-1).mean()
        return l1 + 10 * kld
