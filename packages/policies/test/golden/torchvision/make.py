"""Writes transforms.safetensors: what torchvision's v2 functions make of small images (made with 0.29.1, torch 2.13.0, CPU).

    python3 make.py    # needs torch and torchvision

`<op>.<case>` holds the output; the arguments of each case are in cases.json.
"""

import json
import struct

import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

torch.manual_seed(0)
torch.set_num_threads(1)

small = torch.rand(2, 3, 9, 11)
# Greys, black, white, pure colours and ties between channels: where the hue is undefined or changes its branch.
special = [(0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (0.2, 0.7, 0.7)]
for x, colour in enumerate(special):
    small[0, :, 0, x] = torch.tensor(colour)
wide = torch.rand(1, 3, 20, 27)
tensors = {"small": small, "wide": wide}
cases = {}


def add(op, function, image, arguments):
    for name, args in arguments.items():
        tensors[f"{op}.{name}"] = function(tensors[image], **args)
        cases[f"{op}.{name}"] = {"image": image, **args}


add("brightness", F.adjust_brightness, "small", {"less": {"brightness_factor": 0.8}, "more": {"brightness_factor": 1.2}})
add("contrast", F.adjust_contrast, "small", {"less": {"contrast_factor": 0.8}, "more": {"contrast_factor": 1.7}})
add("saturation", F.adjust_saturation, "small", {"less": {"saturation_factor": 0.5}, "more": {"saturation_factor": 1.5}})
add("hue", F.adjust_hue, "small", {"back": {"hue_factor": -0.05}, "on": {"hue_factor": 0.05}, "far": {"hue_factor": 0.31}})
add("sharpness", F.adjust_sharpness, "small", {"less": {"sharpness_factor": 0.5}, "more": {"sharpness_factor": 1.5}})
add(
    "affine",
    F.affine,
    "wide",
    {
        "turn": {"angle": 4.3, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]},
        "shift": {"angle": 0.0, "translate": [2, -3], "scale": 1.0, "shear": [0.0, 0.0]},
        "both": {"angle": -3.7, "translate": [-1, 1], "scale": 1.0, "shear": [0.0, 0.0]},
        "all": {"angle": 17.2, "translate": [3, 2], "scale": 1.3, "shear": [6.1, -9.4]},
    },
)


def resize(image, size, antialias):
    return F.resize(image, size, interpolation=InterpolationMode.BILINEAR, antialias=antialias)


add(
    "resize",
    resize,
    "wide",
    {
        "down": {"size": [7, 11], "antialias": True},
        "down_plain": {"size": [7, 11], "antialias": False},
        "up": {"size": [25, 40], "antialias": True},
    },
)

header, data = {}, b""
for name, tensor in tensors.items():
    raw = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open("transforms.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
with open("cases.json", "w") as file:
    json.dump(cases, file, indent=2)
    file.write("\n")
